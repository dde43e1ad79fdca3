//! Options of every command that decides: the mesh, the excluded namespaces, the unknown.

use clap::{Args, ValueEnum};
use jiff::SignedDuration;

use crate::decision::Action;
use crate::decision::facts::{DecisionSettings, WriteCondition};
use crate::decision::mesh::{MESHES, Mesh};
use crate::kernel::duration::parse_duration;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::owner_kind::{OwnerKind, OwnerKinds};
use crate::kubernetes::inventory::routing::CLUSTER_DOMAIN;
use crate::kubernetes::inventory::rules::RuleLimits;

/// Namespaces that are never touched by default. Our own namespace comes on top.
pub const EXCLUDED_NAMESPACES: [&str; 5] =
    ["kube-system", "kube-public", "kube-node-lease", "local-path-storage", "istio-system"];

/// Argo Rollouts: they make ReplicaSets, as Deployments do.
pub const ROLLOUTS: &str = "argoproj.io/v1alpha1/rollouts/Rollout";

/// Bound of `--longest-suspension`.
const MAX_LONGEST_SUSPENSION: SignedDuration = SignedDuration::from_hours(36_500 * 24);

/// Settings of decisions.
#[derive(Debug, Clone, Args)]
pub struct DecisionArgs {
    /// Service mesh
    #[arg(long, default_value = "istio", value_parser = parse_mesh, value_name = "MESH")]
    pub mesh: &'static Mesh,
    /// Namespace that outrigger never touches; repeatable; replaces the default list
    #[arg(long = "exclude-namespace", value_name = "NAMESPACE", default_values_t = EXCLUDED_NAMESPACES.map(str::to_owned))]
    pub exclude_namespaces: Vec<String>,
    /// Namespace of outrigger itself, which outrigger never touches either
    #[arg(
        id = "own-namespace",
        long,
        env = "POD_NAMESPACE",
        default_value = "outrigger-system",
        value_name = "NAMESPACE"
    )]
    pub namespace: String,
    /// User whose pods may name owners, such as a controller; repeatable; replaces the default list
    #[arg(long = "trusted-requester", value_name = "USER", default_values_t = trusted_requesters())]
    pub trusted_requesters: Vec<String>,
    /// Further kind of workload; repeatable; replaces the default list
    #[arg(long = "owner-kind", value_name = "GROUP/VERSION/PLURAL/KIND", default_value = ROLLOUTS)]
    pub owner_kinds: Vec<OwnerKind>,
    /// Action if a decision depends on something unknown
    #[arg(long, value_enum, default_value_t = UnknownActionArg::Leave)]
    pub when_unknown: UnknownActionArg,
    /// Condition for writing a marker on a pod
    #[arg(long, value_enum, default_value_t = MarkerWriteArg::Always)]
    pub write: MarkerWriteArg,
    /// Longest duration of a suspension, such as 30d or 12h; a longer one ends then
    #[arg(long, default_value = "30d", value_parser = parse_longest_suspension, value_name = "DURATION")]
    pub longest_suspension: SignedDuration,
    /// Domain of the cluster, at the end of full names of services
    #[arg(long, default_value = CLUSTER_DOMAIN, value_name = "DOMAIN")]
    pub cluster_domain: String,
}

/// Action where a decision depends on an unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UnknownActionArg {
    /// Leave the pod as it is.
    Leave,
    /// Inject a sidecar.
    Enable,
    /// Inject no sidecar.
    Disable,
}

/// Condition under which a marker is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MarkerWriteArg {
    /// Always, so that each pod shows its decision.
    Always,
    /// Only if the injector would do something else without it.
    Needed,
}

impl DecisionArgs {
    /// Creates an empty inventory with these settings.
    pub fn new_inventory(&self) -> Inventory {
        let Self { mesh, exclude_namespaces, namespace, trusted_requesters, owner_kinds, when_unknown, write, .. } =
            self;
        let settings = DecisionSettings {
            mesh,
            excluded_namespaces: exclude_namespaces.iter().chain([namespace]).cloned().collect(),
            when_unknown: match when_unknown {
                UnknownActionArg::Leave => Action::Leave,
                UnknownActionArg::Enable => Action::Enable,
                UnknownActionArg::Disable => Action::Disable,
            },
            write: match write {
                MarkerWriteArg::Always => WriteCondition::Always,
                MarkerWriteArg::Needed => WriteCondition::Needed,
            },
        };
        let owner_kinds = OwnerKinds::default().with_kinds(owner_kinds.clone());
        let mut inventory = Inventory::new(settings, owner_kinds, trusted_requesters.clone());
        inventory.routing.domain.clone_from(&self.cluster_domain);
        inventory
    }

    /// Returns the limits under which rules are compiled.
    pub fn rule_limits(&self) -> RuleLimits {
        RuleLimits { longest_suspension: self.longest_suspension }
    }
}

/// Returns the controllers that create pods for owners, under their usual names.
fn trusted_requesters() -> Vec<String> {
    let controllers = ["replicaset", "statefulset", "daemon-set", "job", "replication"];
    let accounts = controllers.map(|name| format!("system:serviceaccount:kube-system:{name}-controller"));
    ["system:kube-controller-manager".to_owned()].into_iter().chain(accounts).collect()
}

fn parse_mesh(name: &str) -> Result<&'static Mesh, String> {
    let known = || MESHES.each_ref().map(|mesh| mesh.name).join(", ");
    Mesh::by_name(name).ok_or_else(|| format!("known meshes are {}", known()))
}

fn parse_longest_suspension(text: &str) -> Result<SignedDuration, String> {
    let duration = parse_duration(text).map_err(|error| error.to_string())?;
    if duration < MAX_LONGEST_SUSPENSION { Ok(duration) } else { Err("expected less than 36500 days".to_owned()) }
}
