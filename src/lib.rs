//! Outrigger decides, for every new pod, whether it gets a mesh sidecar, and can always say why.
//!
//! # The way through
//!
//! ```text
//! bytes -> PodRequest -> Facts -> Decision -> Marks -> Patch -> bytes        audit and metrics beside it, never in it
//! ```
//!
//! # The map, from the inside out
//!
//! | module | what it is about |
//! | --- | --- |
//! | [`decision`] | the rules: `decide(&Facts, now) -> Decision`, and what is then written on the pod; pure |
//! | [`clock`] | what time it is |
//! | [`certs`] | certificates: issued, read, judged; no files, no cluster |
//! | [`resources`] | our custom resources, each parsed once, and every name that a user types |
//! | [`inventory`] | what we now believe about the cluster; `facts_for` is the only place that reads it |
//! | [`audit`], [`metrics`], [`tasks`] | the audit log, the counters, the tasks of the process |
//! | [`strict`] | objects read as the API server would, with the path of what is wrong |
//! | [`admission`] | a review from bytes to bytes |
//! | [`server`] | the listeners and their limits |
//! | [`overview`] | what is expected against what is there: explanations, drift, and what a change would change |
//! | [`traffic`] | the routing that suspends the traffic of a service: what it is, what stands in its way; pure |
//! | [`suspensions`] | suspensions as people handle them: made, extended, ended, and whom they are about; pure |
//! | [`graph`] | what stands between namespaces, workloads and services; pure |
//! | [`restarts`] | restarts of workloads: whom, in which waves, how far each has come; pure |
//! | [`overrides`] | overrides as people give them: what is written where, and what new pods get for it; pure |
//! | [`proposals`] | policies and suspensions that are proposed, and what they would change; pure |
//! | [`cluster`] | the only owner of a client of the Kubernetes API |
//! | [`files`] | the same inventory from a directory |
//! | [`backend`] | what differs between a cluster and a directory for whoever serves people |
//! | [`api`] | the API for people and their programs, one resource a file, and the page |
//! | [`controllers`] | what only the leader does: planned purely, then done |
//! | [`cli`] | the commands; `serve` puts everything together |
//!
//! A module imports only from modules further in; a test reads the imports and insists.
//!
//! # Invariants
//!
//! 1. `decision` has no clock, no I/O, no lock and no log. There is one `decide`.
//! 2. Admission makes no API call, apart from short reads under one deadline for what is unknown.
//! 3. Each resource is parsed once; one that cannot be parsed is reported and skipped.
//! 4. Only `cluster` talks to the API server. Only controllers on the leader, or somebody's own request or command, make it
//!    write; the latter with their own rights and no others.
//! 5. With failure policy Ignore, a failure of ours never blocks a pod.
//! 6. No task is detached; each outside call has a timeout; each queue has a bound and a policy for when it is full.
//! 7. Every name that a user types in YAML stands in `resources::names`.
//! 8. `manifests/` is what `outrigger install` prints.
//! 9. No token, key or request body reaches a log.
//!
//! # Where a change goes
//!
//! | change | touch | and |
//! | --- | --- | --- |
//! | new rule or precedence | `decision`, its `reason` | a case in `tests/cases/decisions` |
//! | new annotation or label | `resources::names`, `decision::facts` | a case; the README's table |
//! | new field of a resource | the resource's file | regenerate `manifests/`: `outrigger install --output manifests` |
//! | new kind that routes to services | `inventory::routing` | a case in `tests/cases/traffic`; RBAC in `cli::install` |
//! | new kind of owner | `inventory::owner_kind` | RBAC in `cli::install` |
//! | new loop that writes | `controllers` plans, `cluster` writes; spawned in `cli::serve` by `while_leading` | a plan test; RBAC in `cli::install` |
//! | something on the page | `api/page` | `tests/page` clicks it through |
//! | new endpoint | one file in `api`, one entry in its `endpoints()` | its test; the README's table |
//! | new command | one file in `cli`, one variant | its test |
//! | limits, timeouts, TLS | `server` | its test |

pub mod admission;
pub mod api;
pub mod audit;
pub mod certs;
pub mod cli;
pub mod controllers;
pub mod decision;
pub mod features;
pub mod kernel;
pub mod kubernetes;
pub mod metrics;
pub mod serve;
pub mod server;
pub mod tasks;
