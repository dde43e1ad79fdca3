//! `/api/v1/namespaces/{namespace}/injection` and `…/workloads/{kind}/{name}/injection`: an override is written or taken away.
//!
//! It is written with the caller's own token, so that Kubernetes itself says who may.

mod asked;
mod told;
mod whom;

use std::sync::Arc;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Api;
use super::endpoint::{Answer, Endpoint, Operation, schema_of, schema_of_inline};
use super::problem::Problem;
use super::reading::{Asked as Request, beside, unread_while};
use super::request::{carried_through, json_answer, read, turn, whole};
use super::session::{Attempt, Session};
use crate::audit::act::Deed;
use crate::features::overrides::change::{Asked, Refusal};
use crate::features::overrides::field::Field;
use crate::features::overrides::plan::{Planned, plan, preview_of};
use crate::features::preview::caution::cautions;
use crate::kernel::api_error::ApiError;
use crate::kubernetes::client::overrides::{How, Unwritten, Written, Wrote};
use asked::Wanted;
use told::Injection;
use whom::Whom;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Acting {
    /// Whether to say what would be done and what follows, and do nothing.
    #[serde(default)]
    dry_run: bool,
}

/// What is served of that.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let of = |id, summary, path: &str| {
        let answer = "What stands now, and what new pods get for it; of a dry run what would.";
        let operation = Operation {
            id,
            summary,
            query: Some(schema_of_inline::<Acting>),
            body: Some((schema_of::<Wanted>, true)),
            answers: vec![Answer::json::<Injection>(200, answer)],
            problems: &[408, 409, 413, 415, 422],
            ..Operation::default()
        };
        Endpoint::put(path.to_owned(), write, operation)
    };
    vec![
        of(
            "overrideWorkload",
            "Writes an override on a workload, or takes it away; no roll-out starts.",
            "/api/v1/namespaces/{namespace}/workloads/{kind}/{name}/injection",
        ),
        of(
            "overrideNamespace",
            "Writes an override on a namespace, or takes it away; no roll-out starts.",
            "/api/v1/namespaces/{namespace}/injection",
        ),
    ]
}

/// Writes one.
pub(super) async fn write(request: Request, body: Body) -> Response {
    let acting: Result<Acting, Problem> = request.query();
    let dry_run = acting.as_ref().is_ok_and(|acting| acting.dry_run);
    let whom = Whom::of(&request);
    let attempt = Attempt::on(Deed::Override, whom.other(), whom.right(), dry_run, request.peer);
    carried_through(&Arc::clone(&request.api), async move {
        let Request { api, headers, .. } = &request;
        let mut session = Session::begin(api, headers, attempt).await?;
        let written = async {
            acting?;
            session.may("get").await?;
            let body = whole(body).await?;
            // Whoever sends slowly keeps nobody else waiting.
            let _turn = turn(api).await?;
            written(&mut session, whom, read(headers, &body)?).await
        }
        .await;
        session.done(written)
    })
    .await
}

/// What is about to be done, and what is to be known of it.
struct Prepared {
    planned: Planned,
    warnings: Vec<String>,
    unread: Vec<String>,
}

async fn written(session: &mut Session<'_>, whom: Whom, wanted: Wanted) -> Result<Response, Problem> {
    let (api, dry_run, now) = (session.api, session.attempt.dry_run, session.api.clock.now());
    let takes_over = wanted.force;
    let asked = wanted.asked(now)?;
    session.attempt.reason.clone_from(&asked.reason);
    let prepared = {
        let asked = asked.clone();
        beside(api, &session.caller.user, move |api| prepared(api, &whom, &asked, now)).await?
    };
    let edit = &prepared.planned.edit;
    let other = session.attempt.other.as_mut().expect("an attempt with an object tells of it");
    (other.until, other.after) = (asked.until, Some(annotations(&edit.fields)));
    edit.object.kind.clone_into(&mut other.object.kind);
    let wrote = match api.backend.overrides(&session.token)? {
        Some(overrides) => {
            let written = overrides.write(edit, How { takes_over, dry_run }).await;
            let Written { wrote, stood } = written.map_err(|why| unwritten(&why, &edit.object.resource()))?;
            other.before = Some(annotations(&stood));
            wrote
        }
        None if dry_run => Wrote::Changed,
        None => {
            let kept = "what there is comes from files, which are changed by whoever keeps them";
            let by_hand = prepared.planned.by_hand();
            return Err(Problem::new(409, format!("{kept}: {by_hand}; dryRun=true tells what follows")));
        }
    };
    if wrote == Wrote::Nothing {
        session.attempt.note = Some("it stood there already; nothing has changed");
    }
    Ok(json_answer(StatusCode::OK, &Injection::told(&session.attempt, asked.change, wrote, prepared)))
}

fn prepared(api: &Api, whom: &Whom, asked: &Asked, now: Timestamp) -> Result<Prepared, Problem> {
    let inventory = &api.inventory;
    let subject = whom.subject(inventory)?;
    let (planned, unread) = unread_while(inventory, || plan(inventory, asked, vec![subject], now));
    let planned = planned.map_err(refused)?;
    let warnings = cautions(&preview_of(&planned), inventory);
    let planned = planned.into_iter().next().expect("one is planned for each subject");
    Ok(Prepared { planned, warnings, unread })
}

/// As an object has them; null where one is not there.
fn annotations(fields: &[Field]) -> Value {
    let fields: Map<_, _> = fields.iter().map(|field| (field.key.clone(), json!(field.value))).collect();
    json!({"metadata": {"annotations": fields}})
}

fn refused(why: Refusal) -> Problem {
    match why {
        Refusal::Invalid(sentence) => Problem::new(422, sentence),
        Refusal::Undoes(sentence) => Problem::new(409, sentence),
    }
}

fn unwritten(why: &Unwritten, resource: &str) -> Problem {
    match why {
        Unwritten::Held(_) => {
            Problem::new(409, format!("{why}; change it there, or take it over with \"force\": true"))
        }
        Unwritten::Departed(_) => Problem::new(409, why.to_string()),
        Unwritten::Refused(ApiError::Forbidden(sentence)) => {
            Problem::new(403, format!("{sentence}; it takes the rights to get and patch {resource}"))
        }
        Unwritten::Refused(why) => why.clone().into(),
    }
}
