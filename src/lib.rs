//! Outrigger decides, for every new pod, whether it gets a mesh sidecar, and can always say why.
//!
//! # One way through
//!
//! ```text
//! bytes -> PodRequest -> Facts -> Decision -> Marks -> Patch -> bytes        audit and metrics beside it, never in it
//! ```
//!
//! # The map, from the inside out
//!
//! | ring | module | purpose |
//! | --- | --- | --- |
//! | 0 | [`kernel`] | text, ids, time, durations, object references, every name that users type, the error of API calls; no Kubernetes |
//! | 0 | [`certs`] | certificates: issued, read, checked, swapped; no files, no cluster |
//! | 0 | [`tasks`] | the tasks of the process; the first to end stops it |
//! | 1 | [`decision`] | the rules: `decide(&Facts, now) -> Decision`, its effect, its marks and their patch; pure |
//! | 2 | [`kubernetes::resources`] | the custom resources, each parsed once |
//! | 2 | [`kubernetes::inventory`] | the present belief about the cluster; `facts_for` is the only place that reads it for a decision |
//! | 2 | [`audit`], [`metrics`] | the audit log, the counters |
//! | 3 | [`kubernetes::client`] | the only owner of a Kubernetes client: calls, events, access, Lease, certificates, registration |
//! | 3 | [`admission`] | one review, from bytes to bytes |
//! | 3 | [`server`] | the listeners and their limits |
//! | 4 | [`kubernetes::intake`] | fills the inventory: watches, snapshots, single reads, files |
//! | 5 | [`features`] | a folder for each verb: suspension, overrides, restart, preview, explain, status, drift, doctor, graph |
//! | 6 | [`api`], [`cli`] | parse, authorize or confirm, call a feature, print; no rule of a feature |
//! | 6 | [`controllers`] | loops on the leader that call features |
//! | 7 | [`serve`] | the entry of the program, and the composition root of the server |
//!
//! A module imports only from smaller rings and from itself. A test reads the imports and holds this.
//!
//! # Glossary
//!
//! Each concept has one word, in code, commands, API, page and docs. `docs/concepts.md` has them for users.
//!
//! | word | meaning | not |
//! | --- | --- | --- |
//! | policy | a standing rule: which pods get which action | |
//! | action | what a policy or an override asks for: Enable, Disable, Remove | |
//! | override | the exception of one pod, workload or namespace | injection, wish |
//! | suspension | a time-limited order: no sidecars for new pods, or no traffic to a service | pause |
//! | restart | one run that replaces the pods of workloads in waves | roll |
//! | preview | what a change of rules would change for new pods | proposal |
//! | explanation | one decision in full, with every rule considered | |
//! | decision | the action for one pod, with the rule that won and the reason | verdict |
//! | effect | what the injector then does | |
//! | marker | the label or annotation that the injector reads on a pod | mark of the mesh |
//! | receipt | our annotation beside a marker of ours: the rule that wrote it | |
//! | drift | running pods that are not as a new pod of their workload would be | |
//! | workload | the owner of a pod, followed to the top | subject |
//! | owner chain | every owner of a pod, from the nearest to the workload | |
//! | injector | the mesh's own webhook | |
//! | finding | something that `doctor` or `status` reports as wrong | |
//! | registration | our webhook configuration, with its authorities | |
//! | leader | the replica that holds the Lease and so writes statuses, routing and events | |
//! | snapshot | the cluster at one instant, read for a command | look |
//! | condition | an entry of `status.conditions` of an object | standing |
//!
//! # Invariants
//!
//! 1. `decision` has no clock, no I/O, no lock and no log. There is one `decide`.
//! 2. Admission makes no API call, apart from short reads under one deadline for an unknown owner.
//! 3. Each resource is parsed once. One that cannot be parsed is reported and skipped.
//! 4. Only `kubernetes::client` talks to the API server. Only controllers on the leader, or a request or command of a user,
//!    make it write; the latter with the rights of that user and no others.
//! 5. With failure policy Ignore, a failure of ours never blocks a pod.
//! 6. No task is detached; each outside call has a timeout; each queue has a bound and a policy for when it is full.
//! 7. Every name that a user types in YAML stands in `kernel::names`. A test reads the sources and holds this.
//! 8. `manifests/` is what `outrigger install` prints.
//! 9. No token, key or request body reaches a log.
//! 10. A verb exists once: CLI, API and controllers call the same feature, and its words are written there.
//!
//! # Where a change goes
//!
//! | change | touch | and |
//! | --- | --- | --- |
//! | new rule or precedence | `decision`, its `reason` | a case in `tests/cases/decisions` |
//! | new annotation or label | `kernel::names`, `decision::facts` | a case; the table in `docs/concepts.md` |
//! | new field of a resource | the resource's file | regenerate `manifests/`: `outrigger install --output manifests` |
//! | new kind that routes to services | `kubernetes::inventory::routing` | a case in `tests/cases/traffic`; RBAC in `cli::install` |
//! | new kind of object to read | a variant of `IntakeKind` in `kubernetes::intake`, one file in `intake/kinds` | RBAC in `cli::install` |
//! | new kind of owner | `kubernetes::inventory::owner_kind` | RBAC in `cli::install` |
//! | new verb | one folder or file in `features`; one file in `cli`, one in `api` | cases of its plan; snapshots |
//! | new write to the cluster | the feature plans, `kubernetes::client` writes | a plan test; RBAC in `cli::install` |
//! | new loop on the leader | `controllers`, spawned in `serve` | a plan test |
//! | something on the page | `api/page` | `tests/page` clicks it through |
//! | new endpoint | one file in `api`, one entry in its `endpoints()` | its test; `docs/api.md` |
//! | new command | one file in `cli`, one variant | its test; snapshots |
//! | limits, timeouts, TLS | `server`, for the API `api::limits` | its test |

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
