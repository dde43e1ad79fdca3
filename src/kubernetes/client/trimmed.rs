//! Objects, trimmed while they are read: what nobody asks for is not even decoded.
//!
//! Cost: of a list twice the text of one page, and one object of it at a time, beside what is kept. It is decoded beside the
//! threads that answer reviews.

use std::collections::BTreeMap;
use std::fmt::Display;

use kube::Client;
use kube::api::{GetParams, ListParams, Patch, PatchParams};
use kube::core::{ListMeta, Request};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::kernel::api_error::ApiError;
use crate::kubernetes::client::call::answered;

/// How many objects are asked for at once: each may have 1.5 MB, and whoever may write it decides that.
const PAGE: u32 = 25;
/// So many pages are held at once, whoever asks for them: what runs beside is to stay within its memory.
static PAGES: Semaphore = Semaphore::const_new(2);

/// Who has written which field; often a third of an object.
pub(crate) const MANAGED_FIELDS: Path = &["metadata", "managedFields"];

/// Where something stands in an object, by its keys.
pub(crate) type Path = &'static [&'static str];

/// Objects of a kind.
pub(crate) struct Trimmed<'a> {
    pub(crate) client: &'a Client,
    /// Where they are.
    pub(crate) url: &'a str,
    /// What of them is not read.
    pub(crate) unread: &'static [Path],
}

impl Trimmed<'_> {
    /// What is kept of all of them.
    pub(crate) async fn all<K: DeserializeOwned, T: Send + 'static>(
        &self,
        params: ListParams,
        keep: impl Fn(K) -> Option<T> + Clone + Send + 'static,
    ) -> Result<Vec<T>, ApiError> {
        let Self { client, url, unread } = *self;
        let (mut params, mut all) = (params.limit(PAGE), Vec::new());
        loop {
            let request = Request::new(url).list(&params).map_err(unasked)?;
            let _turn = PAGES.acquire().await.map_err(unasked)?;
            let text = answered(client.request_text(request)).await?;
            let keep = keep.clone();
            let page = spawn_blocking(move || page(&text, unread, keep)).await;
            let (kept, next) = page.map_err(unread_answer)?.map_err(unread_answer)?;
            all.extend(kept);
            match next {
                Some(next) => params = params.continue_token(&next),
                None => return Ok(all),
            }
        }
    }

    /// The one of this name.
    pub(crate) async fn one<K: DeserializeOwned>(&self, name: &str) -> Result<K, ApiError> {
        let Self { client, url, unread } = *self;
        let request = Request::new(url).get(name, &GetParams::default()).map_err(unasked)?;
        let text = answered(client.request_text(request)).await?;
        one(&text, unread)
    }

    /// The one of this name, as it is after a change.
    pub(crate) async fn patch<K: DeserializeOwned>(
        &self,
        name: &str,
        params: &PatchParams,
        patch: Value,
    ) -> Result<K, ApiError> {
        let Self { client, url, unread } = *self;
        let request = Request::new(url).patch(name, params, &Patch::Merge(patch)).map_err(unasked)?;
        let text = answered(client.request_text(request)).await?;
        one(&text, unread)
    }
}

/// A list as it is sent, its items not decoded yet.
#[derive(Deserialize)]
struct Page<'t> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(borrow)]
    items: Option<Vec<&'t RawValue>>,
}

/// What is kept of a page, and where the next one begins.
fn page<K: DeserializeOwned, T>(
    text: &str,
    unread: &[Path],
    keep: impl Fn(K) -> Option<T>,
) -> serde_json::Result<(Vec<T>, Option<String>)> {
    let Page { metadata, items } = serde_json::from_str(text)?;
    let items = items.into_iter().flatten();
    let kept: serde_json::Result<Vec<Option<T>>> = items.map(|item| Ok(keep(read(item, unread)?))).collect();
    Ok((kept?.into_iter().flatten().collect(), metadata.continue_.filter(|next| !next.is_empty())))
}

fn one<K: DeserializeOwned>(text: &str, unread: &[Path]) -> Result<K, ApiError> {
    serde_json::from_str(text).and_then(|object| read(object, unread)).map_err(unread_answer)
}

fn read<K: DeserializeOwned>(object: &RawValue, unread: &[Path]) -> serde_json::Result<K> {
    let unread: Vec<&[&str]> = unread.to_vec();
    serde_json::from_value(without(object, &unread)?)
}

fn without(object: &RawValue, unread: &[&[&str]]) -> serde_json::Result<Value> {
    // A kind that we do not know may mean something else by a name.
    if unread.is_empty() || !object.get().starts_with('{') {
        return serde_json::from_str(object.get());
    }
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(object.get())?;
    let kept = fields.into_iter().filter(|(key, _)| !unread.contains(&[key.as_str()].as_slice()));
    kept.map(|(key, value)| {
        let below = unread.iter().filter_map(|path| path.split_first().filter(|(first, _)| **first == key));
        let below: Vec<&[&str]> = below.map(|(_, rest)| rest).collect();
        Ok((key, without(value, &below)?))
    })
    .collect()
}

fn unasked(why: impl Display) -> ApiError {
    ApiError::Invalid(why.to_string())
}

fn unread_answer(why: impl Display) -> ApiError {
    ApiError::Unavailable(format!("the answer of the API server cannot be read: {why}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const UNREAD: &[Path] = &[MANAGED_FIELDS, &["spec", "template", "spec"]];

    fn items(text: &str) -> Vec<Value> {
        page(text, UNREAD, Some).unwrap().0
    }

    #[test]
    fn of_an_object_only_what_is_asked_for_is_decoded() {
        // An escape that decoding would refuse.
        let undecodable = r#""\ud800""#;
        let text = format!(
            r#"{{"metadata":{{"continue":"next"}},"items":[{{"metadata":{{"name":"web","managedFields":[{undecodable}]}},
            "spec":{{"replicas":2,"template":{{"metadata":{{"labels":{{"a":"b"}}}},"spec":{{"containers":[{undecodable}]}}}}}}}}]}}"#
        );
        let (kept, next) = page::<Value, Value>(&text, UNREAD, Some).unwrap();
        let spec = json!({"replicas": 2, "template": {"metadata": {"labels": {"a": "b"}}}});
        assert_eq!(kept, [json!({"metadata": {"name": "web"}, "spec": spec})]);
        assert_eq!(next.as_deref(), Some("next"));
    }

    #[test]
    fn what_has_another_shape_is_read_as_it_is_and_an_empty_list_is_one() {
        let odd = [json!({"metadata": null, "spec": "text"}), json!({"spec": {"template": ["a"]}}), json!([])];
        assert_eq!(items(&json!({"items": odd}).to_string()), odd);
        assert!(items(r#"{"metadata":{"continue":""},"items":null}"#).is_empty());
        assert!(page::<Value, Value>("<html>", UNREAD, Some).is_err());
    }
}
