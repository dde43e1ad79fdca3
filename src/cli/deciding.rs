//! What the commands that decide are told about deciding.

use clap::{Args, ValueEnum};
use jiff::SignedDuration;

use crate::decision::Action;
use crate::decision::facts::{Settings, Write};
use crate::decision::mesh::{MESHES, Mesh};
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::owner_kind::{OwnerKind, OwnerKinds};
use crate::kubernetes::inventory::routing::CLUSTER_DOMAIN;
use crate::kubernetes::inventory::rules::Terms;

/// Namespaces that are never touched unless told otherwise; our own comes on top.
pub const EXCLUDED_NAMESPACES: [&str; 5] =
    ["kube-system", "kube-public", "kube-node-lease", "local-path-storage", "istio-system"];

/// Argo Rollouts, which make ReplicaSets as Deployments do.
pub const ROLLOUTS: &str = "argoproj.io/v1alpha1/rollouts/Rollout";

/// Settings of deciding.
#[derive(Debug, Clone, Args)]
pub struct DecidingArgs {
    /// The mesh whose injector is steered
    #[arg(long, default_value = "istio", value_parser = mesh, value_name = "MESH")]
    pub mesh: &'static Mesh,
    /// A namespace that is never touched; may be given several times, and then replaces the default list
    #[arg(long = "exclude-namespace", value_name = "NAMESPACE", default_values_t = EXCLUDED_NAMESPACES.map(str::to_owned))]
    pub exclude_namespaces: Vec<String>,
    /// The namespace that outrigger itself runs in, which is never touched either
    #[arg(
        id = "own-namespace",
        long,
        env = "POD_NAMESPACE",
        default_value = "outrigger-system",
        value_name = "NAMESPACE"
    )]
    pub namespace: String,
    /// A user who is trusted to create pods in the name of their owners; may be given several times
    #[arg(long = "trusted-requester", value_name = "USER", default_values_t = trusted_requesters())]
    pub trusted_requesters: Vec<String>,
    /// A further kind of workload, such as argoproj.io/v1alpha1/rollouts/Rollout; may be given several times
    #[arg(long = "owner-kind", value_name = "GROUP/VERSION/PLURAL/KIND", default_value = ROLLOUTS)]
    pub owner_kinds: Vec<OwnerKind>,
    /// What to do where a decision hangs on something that is not known
    #[arg(long, value_enum, default_value_t = WhenUnknown::Leave)]
    pub when_unknown: WhenUnknown,
    /// When to write a marker: always, so that a pod says by itself what was decided, or only where it changes something
    #[arg(long, value_enum, default_value_t = WriteWhen::Always)]
    pub write: WriteWhen,
    /// The longest that a suspension may last, such as 30d or 12h; what asks for more ends then
    #[arg(long, default_value = "30d", value_parser = duration, value_name = "DURATION")]
    pub longest_suspension: SignedDuration,
    /// The domain that full names of services end with, which suspensions of traffic write
    #[arg(long, default_value = CLUSTER_DOMAIN, value_name = "DOMAIN")]
    pub cluster_domain: String,
}

/// The answers that can be configured for the unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WhenUnknown {
    /// Touch nothing.
    Leave,
    /// Inject.
    Enable,
    /// Do not inject.
    Disable,
}

/// When a marker is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WriteWhen {
    /// Always.
    Always,
    /// Only where the injector would otherwise do something else.
    Needed,
}

impl DecidingArgs {
    /// An inventory that knows nothing yet but its settings.
    pub fn inventory(&self) -> Inventory {
        let Self { mesh, exclude_namespaces, namespace, trusted_requesters, owner_kinds, when_unknown, write, .. } =
            self;
        let settings = Settings {
            mesh,
            excluded_namespaces: exclude_namespaces.iter().chain([namespace]).cloned().collect(),
            when_unknown: match when_unknown {
                WhenUnknown::Leave => Action::Leave,
                WhenUnknown::Enable => Action::Enable,
                WhenUnknown::Disable => Action::Disable,
            },
            write: match write {
                WriteWhen::Always => Write::Always,
                WriteWhen::Needed => Write::Needed,
            },
        };
        let owner_kinds = OwnerKinds::default().and(owner_kinds.clone());
        let mut inventory = Inventory::new(settings, owner_kinds, trusted_requesters.clone());
        inventory.routing.domain.clone_from(&self.cluster_domain);
        inventory
    }

    /// How rules are to be read.
    pub fn terms(&self) -> Terms {
        Terms { longest_suspension: self.longest_suspension }
    }
}

/// The controllers that create pods for their owners, by the names that they have in usual clusters.
fn trusted_requesters() -> Vec<String> {
    let controllers = ["replicaset", "statefulset", "daemon-set", "job", "replication"];
    let accounts = controllers.map(|name| format!("system:serviceaccount:kube-system:{name}-controller"));
    ["system:kube-controller-manager".to_owned()].into_iter().chain(accounts).collect()
}

fn mesh(name: &str) -> Result<&'static Mesh, String> {
    let known = || MESHES.each_ref().map(|mesh| mesh.name).join(", ");
    Mesh::named(name).ok_or_else(|| format!("it is none of {}", known()))
}

fn duration(text: &str) -> Result<SignedDuration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<i64>().ok()).and_then(|days| days.checked_mul(24));
    let duration = match days {
        Some(hours) if hours < 24 * 36_500 => Ok(SignedDuration::from_hours(hours)),
        _ => text.parse::<SignedDuration>().map_err(|error| error.to_string()),
    }?;
    if duration.is_positive() { Ok(duration) } else { Err("it must be longer than nothing".to_owned()) }
}
