//! Reads of objects without the fields that nobody needs, which are not even decoded.
//!
//! Cost: a list needs twice the text of one page and one decoded object at a time, besides the kept parts. Decoding
//! runs on blocking threads, not on those that answer reviews.

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
use crate::kubernetes::client::call::call_api;

/// Number of objects in a page. Each object may have 1.5 MB, and its author decides that.
const PAGE_SIZE: u32 = 25;
/// Number of pages in memory at once, for all callers together. The server has to stay within its memory limit.
static PAGE_PERMITS: Semaphore = Semaphore::const_new(2);

/// Record of the last writer of each field. Often a third of an object.
pub(crate) const MANAGED_FIELDS: FieldPath = &["metadata", "managedFields"];

/// Path to a field of an object, as its keys.
pub(crate) type FieldPath = &'static [&'static str];

/// Reader of objects of one kind.
pub(crate) struct TrimmedReader<'a> {
    pub(crate) client: &'a Client,
    /// URL of the collection.
    pub(crate) url: &'a str,
    /// Fields that are not decoded.
    pub(crate) skipped: &'static [FieldPath],
}

impl TrimmedReader<'_> {
    /// Lists all objects, page by page, and returns the kept part of each.
    pub(crate) async fn list<K: DeserializeOwned, T: Send + 'static>(
        &self,
        params: ListParams,
        keep: impl Fn(K) -> Option<T> + Clone + Send + 'static,
    ) -> Result<Vec<T>, ApiError> {
        let Self { client, url, skipped } = *self;
        let (mut params, mut all) = (params.limit(PAGE_SIZE), Vec::new());
        loop {
            let request = Request::new(url).list(&params).map_err(invalid_request)?;
            let _turn = PAGE_PERMITS.acquire().await.map_err(invalid_request)?;
            let text = call_api(client.request_text(request)).await?;
            let keep = keep.clone();
            let page = spawn_blocking(move || decode_page(&text, skipped, keep)).await;
            let (kept, next) = page.map_err(unreadable_answer)?.map_err(unreadable_answer)?;
            all.extend(kept);
            match next {
                Some(next) => params = params.continue_token(&next),
                None => return Ok(all),
            }
        }
    }

    /// Reads the object with this name.
    pub(crate) async fn get<K: DeserializeOwned>(&self, name: &str) -> Result<K, ApiError> {
        let Self { client, url, skipped } = *self;
        let request = Request::new(url).get(name, &GetParams::default()).map_err(invalid_request)?;
        let text = call_api(client.request_text(request)).await?;
        decode_object(&text, skipped)
    }

    /// Applies a merge patch to the object with this name, and returns the result.
    pub(crate) async fn patch<K: DeserializeOwned>(
        &self,
        name: &str,
        params: &PatchParams,
        patch: Value,
    ) -> Result<K, ApiError> {
        let Self { client, url, skipped } = *self;
        let request = Request::new(url).patch(name, params, &Patch::Merge(patch)).map_err(invalid_request)?;
        let text = call_api(client.request_text(request)).await?;
        decode_object(&text, skipped)
    }
}

/// List in its transport form, with items not decoded yet.
#[derive(Deserialize)]
struct ListPage<'t> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(borrow)]
    items: Option<Vec<&'t RawValue>>,
}

/// Returns the kept parts of a page, and the token of the next page.
fn decode_page<K: DeserializeOwned, T>(
    text: &str,
    skipped: &[FieldPath],
    keep: impl Fn(K) -> Option<T>,
) -> serde_json::Result<(Vec<T>, Option<String>)> {
    let ListPage { metadata, items } = serde_json::from_str(text)?;
    let items = items.into_iter().flatten();
    let kept: serde_json::Result<Vec<Option<T>>> = items.map(|item| Ok(keep(decode_trimmed(item, skipped)?))).collect();
    Ok((kept?.into_iter().flatten().collect(), metadata.continue_.filter(|next| !next.is_empty())))
}

fn decode_object<K: DeserializeOwned>(text: &str, skipped: &[FieldPath]) -> Result<K, ApiError> {
    serde_json::from_str(text).and_then(|object| decode_trimmed(object, skipped)).map_err(unreadable_answer)
}

fn decode_trimmed<K: DeserializeOwned>(object: &RawValue, skipped: &[FieldPath]) -> serde_json::Result<K> {
    let skipped: Vec<&[&str]> = skipped.to_vec();
    serde_json::from_value(decode_without(object, &skipped)?)
}

fn decode_without(object: &RawValue, skipped: &[&[&str]]) -> serde_json::Result<Value> {
    // An unknown kind may use the same name for something else.
    if skipped.is_empty() || !object.get().starts_with('{') {
        return serde_json::from_str(object.get());
    }
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(object.get())?;
    let kept = fields.into_iter().filter(|(key, _)| !skipped.contains(&[key.as_str()].as_slice()));
    kept.map(|(key, value)| {
        let below = skipped.iter().filter_map(|path| path.split_first().filter(|(first, _)| **first == key));
        let below: Vec<&[&str]> = below.map(|(_, rest)| rest).collect();
        Ok((key, decode_without(value, &below)?))
    })
    .collect()
}

fn invalid_request(why: impl Display) -> ApiError {
    ApiError::Invalid(why.to_string())
}

fn unreadable_answer(why: impl Display) -> ApiError {
    ApiError::Unavailable(format!("the answer of the API server cannot be read: {why}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SKIPPED: &[FieldPath] = &[MANAGED_FIELDS, &["spec", "template", "spec"]];

    fn items(text: &str) -> Vec<Value> {
        decode_page(text, SKIPPED, Some).unwrap().0
    }

    #[test]
    fn of_an_object_only_what_is_asked_for_is_decoded() {
        // Escape sequence that a decoder would refuse.
        let undecodable = r#""\ud800""#;
        let text = format!(
            r#"{{"metadata":{{"continue":"next"}},"items":[{{"metadata":{{"name":"web","managedFields":[{undecodable}]}},
            "spec":{{"replicas":2,"template":{{"metadata":{{"labels":{{"a":"b"}}}},"spec":{{"containers":[{undecodable}]}}}}}}}}]}}"#
        );
        let (kept, next) = decode_page::<Value, Value>(&text, SKIPPED, Some).unwrap();
        let spec = json!({"replicas": 2, "template": {"metadata": {"labels": {"a": "b"}}}});
        assert_eq!(kept, [json!({"metadata": {"name": "web"}, "spec": spec})]);
        assert_eq!(next.as_deref(), Some("next"));
    }

    #[test]
    fn what_has_another_shape_is_read_as_it_is_and_an_empty_list_is_one() {
        let odd = [json!({"metadata": null, "spec": "text"}), json!({"spec": {"template": ["a"]}}), json!([])];
        assert_eq!(items(&json!({"items": odd}).to_string()), odd);
        assert!(items(r#"{"metadata":{"continue":""},"items":null}"#).is_empty());
        assert!(decode_page::<Value, Value>("<html>", SKIPPED, Some).is_err());
    }
}
