//! The three listeners: reviews of the API server, the API for people, and probes with metrics.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http::StatusCode;

use super::ServeContext;
use super::embedded::{print_api_help, print_webhook_help};
use super::environment::ServerEnvironment;
use crate::admission::{AuditEntryIds, Reviewer};
use crate::api::{self, ApiState};
use crate::certs::bundle::AuthorityBundle;
use crate::features::backend::Backend;
use crate::kubernetes::inventory::reads::ShortReads;
use crate::server::endpoint::{WebhookEndpoint, json_response, refusal_response};
use crate::server::limits::Limits;
use crate::server::listener::Listener;
use crate::server::operations::OperationsEndpoint;
use crate::server::tls::{ClientCertificates, server_config};

/// Binds all listeners, and then starts to answer. Returns the time that the tasks may take to stop.
pub(super) fn start(context: &mut ServeContext, environment: ServerEnvironment) -> anyhow::Result<Duration> {
    let ServerEnvironment { reads, key, addresses, backend } = environment;
    let args = &context.args;
    let limits = Limits { drain: Duration::from_secs(args.drain_seconds), ..Limits::default() };
    // People authenticate with tokens, not with certificates.
    let api_tls = server_config(key.clone(), &ClientCertificates::NotRequested)?;
    let webhook_tls = server_config(key, &client_certificates(args.client_ca.as_deref())?)?;
    let webhook = Listener::bind("webhook", addresses.webhook, limits.clone())?.with_tls(webhook_tls);
    // Probes and metrics need few connections.
    let operations_limits = Limits { connections: 64, ..limits.clone() };
    let operations = Listener::bind("operations", addresses.operations, operations_limits)?;
    if args.embedded.is_some() {
        print_webhook_help(&args.cert_dir, webhook.address(), operations.address())?;
    }
    let api_limits = Limits { connections: crate::api::limits::CONNECTIONS, ..limits.clone() };
    let api = Listener::bind("api", addresses.api, api_limits)?.with_tls(api_tls);
    if args.embedded.is_some() {
        print_api_help(args, api.address());
    }
    serve_api(context, api, backend);
    serve_operations(context, operations);
    serve_webhook(context, webhook, &limits, reads);
    Ok(limits.drain + limits.finish + Duration::from_secs(7))
}

fn serve_api(context: &mut ServeContext, listener: Listener, backend: Backend) {
    let ServeContext { args, inventory, clock, metrics, audit, tasks, .. } = context;
    let state = Arc::new(ApiState::new(
        Arc::clone(inventory),
        args.decision_args.rule_limits(),
        clock.clone(),
        audit.clone(),
        backend,
        metrics.clone(),
    ));
    let router = api::router(Arc::clone(&state));
    let serving = listener.serve(move |peer| api::connection_service(router.clone(), peer), tasks.stop_token());
    tasks.spawn("api", async move {
        serving.await;
        state.settle().await;
    });
}

fn serve_operations(context: &mut ServeContext, listener: Listener) {
    let ServeContext { inventory, metrics, tasks, .. } = context;
    let endpoint = Arc::new(OperationsEndpoint {
        inventory: Arc::clone(inventory),
        metrics: metrics.clone(),
        stopping: tasks.stop_token(),
    });
    tasks.spawn("operations", listener.serve(move |_| endpoint.service(), tasks.stop_token()));
}

fn serve_webhook(context: &mut ServeContext, listener: Listener, limits: &Limits, reads: Option<ShortReads>) {
    let ServeContext { inventory, clock, metrics, audit, tasks, drained, .. } = context;
    let reviewer = Arc::new(Reviewer {
        inventory: Arc::clone(inventory),
        reads,
        clock: clock.clone(),
        audit: Some(audit.clone()),
        metrics: metrics.clone(),
        entries: AuditEntryIds::for_process(format!("{:x}", clock.now().as_microsecond())),
    });
    let endpoint = Arc::new(WebhookEndpoint::new("/mutate", limits, move |_, body, peer| {
        let reviewer = Arc::clone(&reviewer);
        async move {
            match reviewer.review(&body, peer.verified).await {
                Ok(answer) => json_response(answer),
                Err(bad) => refusal_response(StatusCode::BAD_REQUEST, bad.to_string()),
            }
        }
    }));
    let serving = listener.serve(move |peer| endpoint.service(peer), tasks.stop_token());
    let drained = drained.clone();
    tasks.spawn("webhook", async move {
        let _cancel_when_drained = drained.drop_guard();
        serving.await;
    });
}

fn client_certificates(authorities: Option<&Path>) -> anyhow::Result<ClientCertificates> {
    let Some(path) = authorities else { return Ok(ClientCertificates::NotRequested) };
    let pem = std::fs::read_to_string(path).with_context(|| format!("cannot read --client-ca {}", path.display()))?;
    let bundle = AuthorityBundle::from_pem(&pem).with_context(|| format!("--client-ca {}", path.display()))?;
    Ok(ClientCertificates::Required(bundle))
}
