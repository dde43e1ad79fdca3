//! The Deployment of the server, its Services, and the objects that keep it available and closed.

use std::collections::BTreeMap;

use clap::ValueEnum;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, ObjectFieldSelector,
    PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceQuota, ResourceQuotaSpec, ResourceRequirements,
    ScopeSelector, ScopedResourceSelectorRequirement, SeccompProfile, Secret, SecurityContext, Service, ServicePort,
    ServiceSpec, TopologySpreadConstraint,
};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPort, NetworkPolicySpec};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::rbac::NAME;
use super::{InstallArgs, object_labels, selector_labels, strings, to_document};
use crate::cli::decision_args::DecisionArgs;
use crate::decision::mesh::{MESHES, MarkerPlace};
use crate::kernel::duration::format_duration;
use crate::kernel::names::{CERTIFICATES_SECRET, DEPLOYMENT, LEASE, SERVICE};

/// Named port of the container.
struct NamedPort {
    name: &'static str,
    number: i32,
}

const WEBHOOK: NamedPort = NamedPort { name: "webhook", number: 9443 };
const API: NamedPort = NamedPort { name: "api", number: 8443 };
const OPERATIONS: NamedPort = NamedPort { name: "operations", number: 8080 };
const PRIORITY_CLASS: &str = "system-cluster-critical";

pub(super) fn services(args: &InstallArgs) -> Vec<Value> {
    let mut webhook = service(args, SERVICE, 443, &WEBHOOK);
    // The API shares the name of the webhook, since the certificate is for that name.
    let api = service(args, SERVICE, API.number, &API).spec.and_then(|spec| spec.ports).unwrap_or_default();
    webhook.spec.get_or_insert_default().ports.get_or_insert_default().extend(api);
    let mut operations = service(args, &format!("{SERVICE}-operations"), OPERATIONS.number, &OPERATIONS);
    // Metrics are of use most while a pod is not ready.
    operations.spec.get_or_insert_default().publish_not_ready_addresses = Some(true);
    vec![to_document(webhook), to_document(operations)]
}

pub(super) fn documents(args: &InstallArgs) -> Vec<Value> {
    let secret =
        Secret { metadata: args.metadata(CERTIFICATES_SECRET), type_: Some("Opaque".to_owned()), ..Secret::default() };
    // Without a spec an apply leaves the holder alone.
    let lease = Lease { metadata: args.metadata(LEASE), spec: None };
    let budget = PodDisruptionBudget {
        metadata: args.metadata(NAME),
        spec: Some(PodDisruptionBudgetSpec {
            // A minimum would block every drain of a node while there is only one pod.
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(own_pod_selector()),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            min_available: None,
        }),
        status: None,
    };
    vec![
        to_document(secret),
        to_document(lease),
        to_document(quota(args)),
        to_document(deployment(args)),
        to_document(budget),
        to_document(network_policy(args)),
    ]
}

fn deployment(args: &InstallArgs) -> Deployment {
    let (mut labels, mut annotations) = (object_labels(), BTreeMap::new());
    let own_mesh = args.decision_args.mesh;
    // Whatever the mesh does, our own pods start without it.
    for mesh in MESHES.iter().filter(|mesh| ["istio", "linkerd", own_mesh.name].contains(&mesh.name)) {
        let marks = match mesh.marker_place {
            MarkerPlace::Label => &mut labels,
            MarkerPlace::Annotation => &mut annotations,
        };
        marks.insert(mesh.marker_key.to_owned(), mesh.off[0].to_owned());
    }
    Deployment {
        metadata: args.metadata(DEPLOYMENT),
        spec: DeploymentSpec {
            replicas: Some(args.replicas),
            selector: own_pod_selector(),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    annotations: Some(annotations),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(args)),
            },
            ..DeploymentSpec::default()
        },
        status: None,
    }
}

fn pod(args: &InstallArgs) -> PodSpec {
    PodSpec {
        service_account_name: Some(NAME.to_owned()),
        automount_service_account_token: Some(true),
        enable_service_links: Some(false),
        priority_class_name: Some(PRIORITY_CLASS.to_owned()),
        // The server drains for 15 seconds and then finishes what it has begun.
        termination_grace_period_seconds: Some(30),
        node_selector: Some(BTreeMap::from([("kubernetes.io/os".to_owned(), "linux".to_owned())])),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(65532),
            run_as_group: Some(65532),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        topology_spread_constraints: Some(vec![TopologySpreadConstraint {
            max_skew: 1,
            topology_key: "kubernetes.io/hostname".to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(own_pod_selector()),
            ..TopologySpreadConstraint::default()
        }]),
        containers: vec![container(args)],
        ..PodSpec::default()
    }
}

fn container(args: &InstallArgs) -> Container {
    let quantities = |pairs: &[(&str, &str)]| {
        Some(pairs.iter().map(|(name, value)| ((*name).to_owned(), Quantity((*value).to_owned()))).collect())
    };
    Container {
        name: "outrigger".to_owned(),
        image: Some(args.image.clone()),
        args: Some(server_arguments(args)),
        env: Some(vec![
            // Without this glibc would keep the memory of large bodies for itself.
            EnvVar { name: "MALLOC_MMAP_THRESHOLD_".to_owned(), value: Some("131072".to_owned()), value_from: None },
            EnvVar { name: "POD_NAME".to_owned(), value: None, value_from: Some(own_field("metadata.name")) },
        ]),
        ports: Some([WEBHOOK, API, OPERATIONS].map(|port| container_port(&port)).to_vec()),
        startup_probe: Some(probe("/livez", 1, 60)),
        liveness_probe: Some(probe("/livez", 10, 3)),
        readiness_probe: Some(probe("/readyz", 2, 2)),
        resources: Some(ResourceRequirements {
            requests: quantities(&[("cpu", "50m"), ("memory", "64Mi")]),
            // The docs of `server::limits` account for this memory.
            limits: quantities(&[("memory", "352Mi")]),
            claims: None,
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(strings(["ALL"])), add: None }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

fn own_field(path: &str) -> EnvVarSource {
    let field = ObjectFieldSelector { field_path: path.to_owned(), api_version: None };
    EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }
}

/// Returns the command line of the server. Every setting of decisions is explicit, so that a newer default changes nothing unseen.
fn server_arguments(args: &InstallArgs) -> Vec<String> {
    let DecisionArgs {
        mesh,
        exclude_namespaces: _,
        namespace,
        trusted_requesters,
        owner_kinds,
        when_unknown,
        write,
        longest_suspension,
        cluster_domain,
    } = &args.decision_args;
    let mut arguments = vec![
        "serve".to_owned(),
        format!("--webhook-listen=0.0.0.0:{}", WEBHOOK.number),
        format!("--api-listen=0.0.0.0:{}", API.number),
        format!("--operations-listen=0.0.0.0:{}", OPERATIONS.number),
        format!("--own-namespace={namespace}"),
        format!("--mesh={}", mesh.name),
        format!("--longest-suspension={}", format_duration(*longest_suspension)),
        format!("--cluster-domain={cluster_domain}"),
    ];
    let unknown = when_unknown.to_possible_value().expect("no variant is skipped");
    arguments.push(format!("--when-unknown={}", unknown.get_name()));
    let write = write.to_possible_value().expect("no variant is skipped");
    arguments.push(format!("--write={}", write.get_name()));
    // Our own namespace is listed too: without any such flag the server would use its default list.
    arguments.extend(args.excluded_namespaces().into_iter().map(|excluded| format!("--exclude-namespace={excluded}")));
    let kinds = owner_kinds.iter();
    arguments.extend(
        kinds.map(|kind| format!("--owner-kind={}/{}/{}/{}", kind.group, kind.version, kind.plural, kind.kind)),
    );
    arguments.extend(trusted_requesters.iter().map(|user| format!("--trusted-requester={user}")));
    arguments.extend(args.drift.arguments());
    arguments
}

/// Returns the quota that allows our priority class in clusters that limit it to `kube-system`.
fn quota(args: &InstallArgs) -> ResourceQuota {
    ResourceQuota {
        metadata: args.metadata(NAME),
        spec: Some(ResourceQuotaSpec {
            hard: Some(BTreeMap::from([("pods".to_owned(), Quantity("1k".to_owned()))])),
            scope_selector: Some(ScopeSelector {
                match_expressions: Some(vec![ScopedResourceSelectorRequirement {
                    scope_name: "PriorityClass".to_owned(),
                    operator: "In".to_owned(),
                    values: Some(strings([PRIORITY_CLASS])),
                }]),
            }),
            scopes: None,
        }),
        status: None,
    }
}

/// Returns the policy that opens our three ports to everything, since neither the API server nor the kubelet can be selected. All
/// other ports are closed.
fn network_policy(args: &InstallArgs) -> NetworkPolicy {
    let port = |port: NamedPort| NetworkPolicyPort {
        port: Some(IntOrString::String(port.name.to_owned())),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    };
    NetworkPolicy {
        metadata: args.metadata(NAME),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(own_pod_selector()),
            policy_types: Some(strings(["Ingress"])),
            ingress: Some(vec![NetworkPolicyIngressRule {
                ports: Some([WEBHOOK, API, OPERATIONS].map(port).to_vec()),
                from: None,
            }]),
            egress: None,
        }),
    }
}

fn service(args: &InstallArgs, name: &str, number: i32, target: &NamedPort) -> Service {
    Service {
        metadata: args.metadata(name),
        spec: Some(ServiceSpec {
            selector: Some(selector_labels()),
            ports: Some(vec![ServicePort {
                name: Some(target.name.to_owned()),
                port: number,
                target_port: Some(IntOrString::String(target.name.to_owned())),
                protocol: Some("TCP".to_owned()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn container_port(port: &NamedPort) -> ContainerPort {
    ContainerPort {
        name: Some(port.name.to_owned()),
        container_port: port.number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn probe(path: &str, period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(OPERATIONS.name.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(failure_threshold),
        timeout_seconds: Some(2),
        ..Probe::default()
    }
}

fn own_pod_selector() -> LabelSelector {
    LabelSelector { match_labels: Some(selector_labels()), match_expressions: None }
}
