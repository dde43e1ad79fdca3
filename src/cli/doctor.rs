//! `outrigger doctor`: prints findings about what keeps rules from their effect.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;

use super::snapshot::{OutputFormat, SnapshotArgs};
use crate::features::doctor::diagnosis::{Finding, FindingState, diagnose};
use crate::kernel::names::{LEASE, SERVICE, WEBHOOK, WEBHOOK_CONFIGURATION};
use crate::kubernetes::client::installation::{Installation, ObjectRead, read_installation};

/// What to look at.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// How to print
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    output: OutputFormat,
    #[command(flatten)]
    snapshot_args: SnapshotArgs,
}

/// Age of a Lease at which its leader is taken to be gone; a leader renews it every two seconds.
const LEADER_GONE_AFTER: SignedDuration = SignedDuration::from_secs(60);
const INSTALL: &str = "apply what `outrigger install` prints";

/// Runs the command.
pub async fn run(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let DoctorArgs { output, snapshot_args } = args;
    let mut all = Vec::new();
    if snapshot_args.state.is_none() {
        let client = super::snapshot::client().await?;
        let namespace = &snapshot_args.decision_args.namespace;
        all.extend(check_installation(&read_installation(&client, namespace).await, namespace, snapshot_args.now()));
    }
    let snapshot = snapshot_args.take(None).await?;
    all.extend(diagnose(&snapshot.inventory));
    output.print(&all, |all| format_table(all))?;
    let worst = all.iter().map(|finding| finding.state).max().unwrap_or(FindingState::Good);
    Ok(if worst == FindingState::Problem { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn check_installation(installation: &Installation, namespace: &str, now: Timestamp) -> Vec<Finding> {
    let Installation { version, registration, server, lease } = installation;
    vec![
        match version {
            ObjectRead::Found(version) => Finding::good("cluster", format!("the API server is {version}")),
            ObjectRead::Absent => {
                Finding::warning("cluster", "the API server does not tell its version", "look at its log")
            }
            ObjectRead::Unread(why) => {
                Finding::problem("cluster", format!("the API server does not answer: {why}"), "check your kubeconfig")
            }
        },
        check_object(
            "registration",
            &format!("the webhook configuration {WEBHOOK_CONFIGURATION}"),
            registration,
            check_registration,
        ),
        check_object("server", &format!("the Deployment {namespace}/{SERVICE}"), server, check_server),
        check_object("leader", &format!("the Lease {namespace}/{LEASE}"), lease, |lease| check_leader(lease, now)),
    ]
}

fn check_object<K>(
    check: &'static str,
    what: &str,
    object: &ObjectRead<K>,
    check_found: impl FnOnce(&K) -> Finding,
) -> Finding {
    match object {
        ObjectRead::Found(object) => check_found(object),
        ObjectRead::Absent => Finding::problem(check, format!("{what} is not there"), INSTALL),
        ObjectRead::Unread(why) => {
            Finding::warning(check, format!("cannot tell of {what}: {why}"), "ask somebody who may read it")
        }
    }
}

fn check_registration(configuration: &MutatingWebhookConfiguration) -> Finding {
    let entry = configuration.webhooks.iter().flatten().find(|entry| entry.name == WEBHOOK);
    let Some(entry) = entry else {
        return Finding::problem("registration", format!("{WEBHOOK_CONFIGURATION} has no entry {WEBHOOK}"), INSTALL);
    };
    if entry.client_config.ca_bundle.as_ref().is_none_or(|bundle| bundle.0.is_empty()) {
        let found = "the API server is not told whom to trust: it calls nobody";
        return Finding::problem("registration", found, "a running server writes it within seconds: look at its log");
    }
    let policy = entry.failure_policy.as_deref().unwrap_or("Fail");
    Finding::good("registration", format!("the API server asks us about new pods; failurePolicy {policy}"))
}

fn check_server(server: &Deployment) -> Finding {
    let desired = server.spec.replicas.unwrap_or(1);
    let ready = server.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default();
    let found = format!("{ready} of {desired} replicas are ready");
    match ready {
        0 => Finding::problem("server", found, "no pod is decided about; look at the pods of the Deployment"),
        _ if ready < desired => Finding::warning("server", found, "look at the pods of the Deployment"),
        _ => Finding::good("server", found),
    }
}

fn check_leader(lease: &Lease, now: Timestamp) -> Finding {
    let spec = &lease.spec;
    let holder = spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).filter(|holder| !holder.is_empty());
    let renewed = spec.as_ref().and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0);
    match (holder, renewed) {
        (Some(holder), Some(renewed)) if now.duration_since(renewed) < LEADER_GONE_AFTER => {
            Finding::good("leader", format!("{holder} leads"))
        }
        _ => Finding::warning(
            "leader",
            "no replica leads",
            "statuses and Events stand still until one does; decisions go on",
        ),
    }
}

fn format_table(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { check, state, found, advice } in findings {
        let mark = match state {
            FindingState::Good => "ok",
            FindingState::Warning => "warning",
            FindingState::Problem => "PROBLEM",
        };
        let _ = writeln!(text, "{mark:<9}{check:<14}{found}");
        if let Some(advice) = advice {
            let _ = writeln!(text, "{:<23}{advice}", "");
        }
    }
    text
}
