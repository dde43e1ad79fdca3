//! `outrigger doctor`: what stands between the rules and their effect.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;

use super::looking::{LookingArgs, Output};
use crate::features::doctor::diagnosis::{Finding, State, findings};
use crate::kernel::names::{LEASE, SERVICE, WEBHOOK, WEBHOOK_CONFIGURATION};
use crate::kubernetes::client::installation::{Installation, Read, installation};

/// What to look at.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    looking: LookingArgs,
}

/// A leader renews its Lease every two seconds; one that has not for so long is gone.
const LEADER_GONE_AFTER: SignedDuration = SignedDuration::from_secs(60);
const INSTALL: &str = "apply what `outrigger install` prints";

/// Runs the command.
pub async fn run(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let DoctorArgs { output, looking } = args;
    let mut all = Vec::new();
    if looking.state.is_none() {
        let client = super::looking::client().await?;
        let namespace = &looking.deciding.namespace;
        all.extend(of_installation(&installation(&client, namespace).await, namespace, looking.now()));
    }
    let looked = looking.look(None).await?;
    all.extend(findings(&looked.inventory));
    output.print(&all, |all| table(all))?;
    let worst = all.iter().map(|finding| finding.state).max().unwrap_or(State::Good);
    Ok(if worst == State::Problem { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn of_installation(installation: &Installation, namespace: &str, now: Timestamp) -> Vec<Finding> {
    let Installation { version, registration, server, lease } = installation;
    vec![
        match version {
            Read::Found(version) => Finding::good("cluster", format!("the API server is {version}")),
            Read::Absent => Finding::warning("cluster", "the API server does not tell its version", "look at its log"),
            Read::Unread(why) => {
                Finding::problem("cluster", format!("the API server does not answer: {why}"), "check your kubeconfig")
            }
        },
        read("registration", &format!("the webhook configuration {WEBHOOK_CONFIGURATION}"), registration, registered),
        read("server", &format!("the Deployment {namespace}/{SERVICE}"), server, running),
        read("leader", &format!("the Lease {namespace}/{LEASE}"), lease, |lease| led(lease, now)),
    ]
}

fn read<K>(check: &'static str, what: &str, object: &Read<K>, judged: impl FnOnce(&K) -> Finding) -> Finding {
    match object {
        Read::Found(object) => judged(object),
        Read::Absent => Finding::problem(check, format!("{what} is not there"), INSTALL),
        Read::Unread(why) => {
            Finding::warning(check, format!("cannot tell of {what}: {why}"), "ask somebody who may read it")
        }
    }
}

fn registered(configuration: &MutatingWebhookConfiguration) -> Finding {
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

fn running(server: &Deployment) -> Finding {
    let wanted = server.spec.replicas.unwrap_or(1);
    let ready = server.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default();
    let found = format!("{ready} of {wanted} replicas are ready");
    match ready {
        0 => Finding::problem("server", found, "no pod is decided about; look at the pods of the Deployment"),
        _ if ready < wanted => Finding::warning("server", found, "look at the pods of the Deployment"),
        _ => Finding::good("server", found),
    }
}

fn led(lease: &Lease, now: Timestamp) -> Finding {
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

fn table(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { check, state, found, advice } in findings {
        let mark = match state {
            State::Good => "ok",
            State::Warning => "warning",
            State::Problem => "PROBLEM",
        };
        let _ = writeln!(text, "{mark:<9}{check:<14}{found}");
        if let Some(advice) = advice {
            let _ = writeln!(text, "{:<23}{advice}", "");
        }
    }
    text
}
