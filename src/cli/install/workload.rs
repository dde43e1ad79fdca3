//! What runs: the Deployment, the Services that lead to it, and what keeps it up and closed.

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

use super::access::NAME;
use super::{InstallArgs, document, labels, selected, texts};
use crate::cli::deciding::DecidingArgs;
use crate::decision::mesh::{MESHES, Place};
use crate::kernel::names::{CERTIFICATES_SECRET, DEPLOYMENT, LEASE, SERVICE};

/// A port of the container.
struct Port {
    name: &'static str,
    number: i32,
}

const WEBHOOK: Port = Port { name: "webhook", number: 9443 };
const API: Port = Port { name: "api", number: 8443 };
const OPERATIONS: Port = Port { name: "operations", number: 8080 };
const PRIORITY_CLASS: &str = "system-cluster-critical";

pub(super) fn services(args: &InstallArgs) -> Vec<Value> {
    let mut webhook = service(args, SERVICE, 443, &WEBHOOK);
    // Under the same name, which the certificate tells.
    let api = service(args, SERVICE, API.number, &API).spec.and_then(|spec| spec.ports).unwrap_or_default();
    webhook.spec.get_or_insert_default().ports.get_or_insert_default().extend(api);
    let mut operations = service(args, &format!("{SERVICE}-operations"), OPERATIONS.number, &OPERATIONS);
    // Metrics are of use most while a pod is not ready.
    operations.spec.get_or_insert_default().publish_not_ready_addresses = Some(true);
    vec![document(webhook), document(operations)]
}

pub(super) fn documents(args: &InstallArgs) -> Vec<Value> {
    let secret =
        Secret { metadata: args.metadata(CERTIFICATES_SECRET), type_: Some("Opaque".to_owned()), ..Secret::default() };
    // Without a spec, so that an apply leaves alone who holds it.
    let lease = Lease { metadata: args.metadata(LEASE), spec: None };
    let budget = PodDisruptionBudget {
        metadata: args.metadata(NAME),
        spec: Some(PodDisruptionBudgetSpec {
            // Not a minimum, which would hold up every drain of a node while there is one pod only.
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(our_pods()),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            min_available: None,
        }),
        status: None,
    };
    vec![
        document(secret),
        document(lease),
        document(quota(args)),
        document(deployment(args)),
        document(budget),
        document(network_policy(args)),
    ]
}

fn deployment(args: &InstallArgs) -> Deployment {
    let (mut labels, mut annotations) = (labels(), BTreeMap::new());
    let ours = args.deciding.mesh;
    // Whatever the mesh does, our own pods start without it.
    for mesh in MESHES.iter().filter(|mesh| ["istio", "linkerd", ours.name].contains(&mesh.name)) {
        let marks = match mesh.marker_place {
            Place::Label => &mut labels,
            Place::Annotation => &mut annotations,
        };
        marks.insert(mesh.marker_key.to_owned(), mesh.off[0].to_owned());
    }
    Deployment {
        metadata: args.metadata(DEPLOYMENT),
        spec: DeploymentSpec {
            replicas: Some(args.replicas),
            selector: our_pods(),
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
            label_selector: Some(our_pods()),
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
        args: Some(arguments(args)),
        env: Some(vec![
            // glibc would keep the memory of large bodies for itself; so it gives them back.
            EnvVar { name: "MALLOC_MMAP_THRESHOLD_".to_owned(), value: Some("131072".to_owned()), value_from: None },
            EnvVar { name: "POD_NAME".to_owned(), value: None, value_from: Some(own_field("metadata.name")) },
        ]),
        ports: Some([WEBHOOK, API, OPERATIONS].map(|port| container_port(&port)).to_vec()),
        startup_probe: Some(probe("/livez", 1, 60)),
        liveness_probe: Some(probe("/livez", 10, 3)),
        readiness_probe: Some(probe("/readyz", 2, 2)),
        resources: Some(ResourceRequirements {
            requests: quantities(&[("cpu", "50m"), ("memory", "64Mi")]),
            // The docs of `server::limits` say what of this is for what.
            limits: quantities(&[("memory", "352Mi")]),
            claims: None,
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(texts(["ALL"])), add: None }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

fn own_field(path: &str) -> EnvVarSource {
    let field = ObjectFieldSelector { field_path: path.to_owned(), api_version: None };
    EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }
}

/// The command line of the server: everything that decides is told, so that a newer default changes nothing unseen.
fn arguments(args: &InstallArgs) -> Vec<String> {
    let DecidingArgs {
        mesh,
        exclude_namespaces: _,
        namespace,
        trusted_requesters,
        owner_kinds,
        when_unknown,
        write,
        longest_suspension,
        cluster_domain,
    } = &args.deciding;
    let mut arguments = vec![
        "serve".to_owned(),
        format!("--webhook-listen=0.0.0.0:{}", WEBHOOK.number),
        format!("--api-listen=0.0.0.0:{}", API.number),
        format!("--operations-listen=0.0.0.0:{}", OPERATIONS.number),
        format!("--own-namespace={namespace}"),
        format!("--mesh={}", mesh.name),
        format!("--longest-suspension={longest_suspension:#}"),
        format!("--cluster-domain={cluster_domain}"),
    ];
    let unknown = when_unknown.to_possible_value().expect("no variant is skipped");
    arguments.push(format!("--when-unknown={}", unknown.get_name()));
    let write = write.to_possible_value().expect("no variant is skipped");
    arguments.push(format!("--write={}", write.get_name()));
    // Ours too: with none of these the server would take its default list.
    arguments.extend(args.excluded_namespaces().into_iter().map(|excluded| format!("--exclude-namespace={excluded}")));
    let kinds = owner_kinds.iter();
    arguments.extend(
        kinds.map(|kind| format!("--owner-kind={}/{}/{}/{}", kind.group, kind.version, kind.plural, kind.kind)),
    );
    arguments.extend(trusted_requesters.iter().map(|user| format!("--trusted-requester={user}")));
    arguments.extend(args.drift.arguments());
    arguments
}

/// Where a cluster limits the priority class to `kube-system`, a quota in the namespace is what allows it here.
fn quota(args: &InstallArgs) -> ResourceQuota {
    ResourceQuota {
        metadata: args.metadata(NAME),
        spec: Some(ResourceQuotaSpec {
            hard: Some(BTreeMap::from([("pods".to_owned(), Quantity("1k".to_owned()))])),
            scope_selector: Some(ScopeSelector {
                match_expressions: Some(vec![ScopedResourceSelectorRequirement {
                    scope_name: "PriorityClass".to_owned(),
                    operator: "In".to_owned(),
                    values: Some(texts([PRIORITY_CLASS])),
                }]),
            }),
            scopes: None,
        }),
        status: None,
    }
}

/// Everything may reach our three ports: neither the API server nor the kubelet can be selected. Nothing reaches another.
fn network_policy(args: &InstallArgs) -> NetworkPolicy {
    let port = |port: Port| NetworkPolicyPort {
        port: Some(IntOrString::String(port.name.to_owned())),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    };
    NetworkPolicy {
        metadata: args.metadata(NAME),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(our_pods()),
            policy_types: Some(texts(["Ingress"])),
            ingress: Some(vec![NetworkPolicyIngressRule {
                ports: Some([WEBHOOK, API, OPERATIONS].map(port).to_vec()),
                from: None,
            }]),
            egress: None,
        }),
    }
}

fn service(args: &InstallArgs, name: &str, number: i32, target: &Port) -> Service {
    Service {
        metadata: args.metadata(name),
        spec: Some(ServiceSpec {
            selector: Some(selected()),
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

fn container_port(port: &Port) -> ContainerPort {
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

fn our_pods() -> LabelSelector {
    LabelSelector { match_labels: Some(selected()), match_expressions: None }
}
