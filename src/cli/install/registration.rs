//! Registration with the API server: for which new pods it asks us, and how it treats them while we do not answer.

use clap::ValueEnum;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations, ServiceReference, WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use super::{InstallArgs, cluster_metadata, strings};
use crate::kernel::names::{SERVICE, WEBHOOK, WEBHOOK_CONFIGURATION};

pub(super) fn webhook_configuration(args: &InstallArgs) -> MutatingWebhookConfiguration {
    MutatingWebhookConfiguration {
        metadata: cluster_metadata(WEBHOOK_CONFIGURATION),
        webhooks: Some(vec![pod_webhook(args)]),
    }
}

fn pod_webhook(args: &InstallArgs) -> MutatingWebhook {
    let policy = args.failure_policy.to_possible_value().expect("no variant is skipped");
    MutatingWebhook {
        name: WEBHOOK.to_owned(),
        client_config: WebhookClientConfig {
            service: Some(ServiceReference {
                namespace: args.decision_args.namespace.clone(),
                name: SERVICE.to_owned(),
                path: Some("/mutate".to_owned()),
                port: Some(443),
            }),
            // The server writes its own bundle, and an apply of this manifest leaves that alone.
            ca_bundle: None,
            url: None,
        },
        rules: Some(vec![RuleWithOperations {
            api_groups: Some(strings([""])),
            api_versions: Some(strings(["v1"])),
            operations: Some(strings(["CREATE"])),
            resources: Some(strings(["pods"])),
            scope: Some("Namespaced".to_owned()),
        }]),
        failure_policy: Some(policy.get_name().to_owned()),
        // The API server itself writes this label, and no tenant can change it.
        namespace_selector: Some(LabelSelector {
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: "kubernetes.io/metadata.name".to_owned(),
                operator: "NotIn".to_owned(),
                values: Some(args.excluded_namespaces()),
            }]),
            match_labels: None,
        }),
        // Tenants write the labels of their pods, so labels must not decide whether we are asked.
        object_selector: None,
        match_conditions: None,
        match_policy: Some("Equivalent".to_owned()),
        reinvocation_policy: Some("Never".to_owned()),
        side_effects: "NoneOnDryRun".to_owned(),
        timeout_seconds: Some(3),
        admission_review_versions: strings(["v1"]),
    }
}
