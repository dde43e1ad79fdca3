//! What the API server is told: for which new pods it asks us, and what it does while we do not answer.

use clap::ValueEnum;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations, ServiceReference, WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use super::{InstallArgs, cluster_metadata, texts};
use crate::kernel::names::{SERVICE, WEBHOOK, WEBHOOK_CONFIGURATION};

pub(super) fn configuration(args: &InstallArgs) -> MutatingWebhookConfiguration {
    MutatingWebhookConfiguration { metadata: cluster_metadata(WEBHOOK_CONFIGURATION), webhooks: Some(vec![pods(args)]) }
}

fn pods(args: &InstallArgs) -> MutatingWebhook {
    let policy = args.failure_policy.to_possible_value().expect("no variant is skipped");
    MutatingWebhook {
        name: WEBHOOK.to_owned(),
        client_config: WebhookClientConfig {
            service: Some(ServiceReference {
                namespace: args.deciding.namespace.clone(),
                name: SERVICE.to_owned(),
                path: Some("/mutate".to_owned()),
                port: Some(443),
            }),
            // The server writes its own, and an apply of this leaves that alone.
            ca_bundle: None,
            url: None,
        },
        rules: Some(vec![RuleWithOperations {
            api_groups: Some(texts([""])),
            api_versions: Some(texts(["v1"])),
            operations: Some(texts(["CREATE"])),
            resources: Some(texts(["pods"])),
            scope: Some("Namespaced".to_owned()),
        }]),
        failure_policy: Some(policy.get_name().to_owned()),
        // By the name that the API server itself writes, which no tenant can change.
        namespace_selector: Some(LabelSelector {
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: "kubernetes.io/metadata.name".to_owned(),
                operator: "NotIn".to_owned(),
                values: Some(args.excluded_namespaces()),
            }]),
            match_labels: None,
        }),
        // Tenants write the labels of their pods, so those do not decide whether we are asked.
        object_selector: None,
        match_conditions: None,
        match_policy: Some("Equivalent".to_owned()),
        reinvocation_policy: Some("Never".to_owned()),
        side_effects: "NoneOnDryRun".to_owned(),
        timeout_seconds: Some(3),
        admission_review_versions: texts(["v1"]),
    }
}
