//! Restarts on a real control plane: waves, budgets and evictions; a restart is halted, interrupted, refused and
//! resumed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};

use super::TIMEOUT;
use super::installed::Outrigger;
use crate::commands::{CommandOutput, outrigger};
use crate::control_plane::{ControlPlane, Options, await_condition, with_temp_namespace};

/// Long enough for hundreds of workloads on a busy machine.
const LONG: Duration = Duration::from_secs(180);

/// Makes a workload of the kind, whose pods become ready.
pub(super) fn workload(kind: &str, name: &str, spec: Value) -> Value {
    let mut spec = spec;
    let labels = json!({"app": name});
    spec["selector"] = json!({"matchLabels": labels});
    spec["template"]["metadata"]["labels"] = labels;
    if spec["template"]["spec"].is_null() {
        spec["template"]["spec"] = json!({"containers": [{"name": "main", "image": "example.test/main:1"}]});
    }
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

pub(super) fn deployment(name: &str) -> Value {
    workload("Deployment", name, json!({"replicas": 1}))
}

/// Makes a Deployment whose new pod never finds a node: the old pod has the port, and stays until the new one is
/// ready.
pub(super) fn stuck(name: &str) -> Value {
    static NEXT: AtomicU32 = AtomicU32::new(20_000);
    let port = json!([{"containerPort": 80, "hostPort": NEXT.fetch_add(1, Ordering::Relaxed)}]);
    let containers = json!([{"name": "main", "image": "example.test/main:1", "ports": port}]);
    workload("Deployment", name, json!({"replicas": 1, "template": {"spec": {"containers": containers}}}))
}

/// Patch that lets such a Deployment proceed.
pub(super) const UNSTUCK: &str = r#"{"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}}"#;

pub(super) async fn apply(plane: &ControlPlane, namespace: &str, objects: Vec<Value>) {
    let mut objects = objects;
    objects.iter_mut().for_each(|object| object["metadata"]["namespace"] = namespace.into());
    plane.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()).await;
}

async fn kubectl(plane: &ControlPlane, arguments: &[&str]) -> String {
    let done = plane.kubectl(arguments).await;
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

pub(super) async fn items(plane: &ControlPlane, namespace: &str, kinds: &str) -> Vec<Value> {
    let listed = kubectl(plane, &["get", kinds, "-n", namespace, "-o", "json"]).await;
    let mut listed: Value = serde_json::from_str(&listed).unwrap();
    listed["items"].as_array_mut().unwrap().drain(..).collect()
}

/// Waits until exactly this number of pods is ready.
pub(super) async fn await_ready(plane: &ControlPlane, namespace: &str, pods: usize) {
    await_condition("the pods to be ready", LONG, async || {
        let ready = items(plane, namespace, "pods").await.into_iter().filter(is_ready).count();
        ensure!(ready == pods, "{ready} of {pods} are ready");
        Ok(())
    })
    .await;
}

pub(super) fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

pub(super) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

pub(super) fn mark(object: &Value) -> Option<&str> {
    object["metadata"]["labels"]["outrigger.dev/restart"].as_str()
}

fn state(object: &Value) -> &str {
    mark(object).map_or("none", |mark| mark.split('.').nth(1).unwrap())
}

pub(super) fn restarted_at(object: &Value) -> Option<&str> {
    object["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"].as_str()
}

fn uids(objects: &[Value]) -> Vec<&str> {
    objects.iter().map(|object| object["metadata"]["uid"].as_str().unwrap()).collect()
}

fn restart(plane: &ControlPlane, namespace: &str, arguments: &[&str]) -> CommandOutput {
    outrigger(&[&["restart", "-n", namespace], arguments].concat(), Some(&plane.kubeconfig_path()), "")
}

/// Running command.
struct RestartProcess {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl RestartProcess {
    fn start(plane: &ControlPlane, namespace: &str, arguments: &[&str]) -> Self {
        Self::start_named(plane, namespace, "one", arguments)
    }

    /// Starts one of several commands in a namespace.
    fn start_named(plane: &ControlPlane, namespace: &str, which: &str, arguments: &[&str]) -> Self {
        Self::spawn(plane, &plane.kubeconfig_path(), namespace, which, arguments)
    }

    fn start_as(plane: &ControlPlane, kubeconfig: &Path, namespace: &str, arguments: &[&str]) -> Self {
        Self::spawn(plane, kubeconfig, namespace, "one", arguments)
    }

    fn spawn(plane: &ControlPlane, kubeconfig: &Path, namespace: &str, which: &str, arguments: &[&str]) -> Self {
        let file = |end: &str| plane.directory().join(format!("restart-{namespace}-{which}.{end}"));
        let (out, err) = (file("out"), file("err"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
        command.args(["restart", "-n", namespace]).args(arguments).env("KUBECONFIG", kubeconfig);
        command.stdin(Stdio::null()).stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        Self { child: command.spawn().unwrap(), out, err }
    }

    fn stderr(&self) -> String {
        std::fs::read_to_string(&self.err).unwrap()
    }

    async fn await_output(&self, words: &str) {
        await_condition(&format!("the words {words:?}"), 2 * TIMEOUT, async || {
            let said = self.stderr();
            ensure!(said.contains(words), "it said: {said}");
            Ok(())
        })
        .await;
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    async fn end(mut self) -> CommandOutput {
        let code = await_condition("the command to end", LONG, async || match self.child.try_wait()? {
            Some(status) => Ok(status.code().unwrap()),
            None => anyhow::bail!("it said: {}", self.stderr()),
        })
        .await;
        CommandOutput { code, out: std::fs::read_to_string(&self.out).unwrap(), err: self.stderr() }
    }
}

impl Drop for RestartProcess {
    fn drop(&mut self) {
        let _has_ended = self.child.kill();
        let _is_reaped = self.child.wait();
    }
}

#[tokio::test]
async fn two_hundred_workloads_go_in_waves_until_one_does_not_come_up_and_all_are_done_when_it_does() {
    let plane = ControlPlane::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        let mut objects: Vec<Value> = (0..199).map(|number| deployment(&format!("w-{number:03}"))).collect();
        objects.push(stuck("w-100x"));
        let pod = json!({"containers": [{"name": "main", "image": "example.test/main:1"}], "nodeSelector": {"no": "where"}});
        let job = json!({"template": {"spec": {"restartPolicy": "Never", "containers": pod["containers"], "nodeSelector": pod["nodeSelector"]}}});
        objects.push(json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "import"}, "spec": job}));
        objects.push(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "debug"}, "spec": {"containers": pod["containers"]}}));
        apply(plane, namespace, objects).await;
        await_ready(plane, namespace, 201).await;
        let untouched = [items(plane, namespace, "jobs").await, items(plane, namespace, "pods").await].concat();
        let untouched: Vec<_> =
            untouched.into_iter().filter(|one| name(one).starts_with("import") || name(one) == "debug").collect();
        assert_eq!(untouched.len(), 3, "the Job, its pod, and the bare pod");

        let halted = restart(plane, namespace, &["--all", "--yes", "--at-once", "40", "--timeout", "20s", "-o", "json"]);
        assert_eq!(halted.code, 1, "{}{}", halted.out, halted.err);
        assert!(halted.err.contains("job/import: Jobs run to their end, and are never restarted"), "{}", halted.err);
        assert!(halted.err.contains("  pod/debug"), "{}", halted.err);
        let report = halted.json();
        assert_eq!(report["end"], "halted");
        assert_eq!(report["notUp"][0]["name"], "w-100x");
        let why = report["notUp"][0]["why"].as_str().unwrap();
        assert!(why.contains("no node takes it") && why.contains("free ports"), "{why}");
        let counts = ["restarted", "pending", "notUp"].map(|key| report[key].as_array().unwrap().len());
        assert_eq!(counts, [119, 80, 1], "the third of five waves halts it");

        let all = items(plane, namespace, "deployments").await;
        let run = report["run"].as_str().unwrap();
        let in_state = |state: &str, restarted: bool| {
            let is = |one: &&Value| self::state(one) == state && restarted_at(one).is_some() == restarted;
            all.iter().filter(is).count()
        };
        assert_eq!([in_state("none", true), in_state("rolling", true), in_state("pending", false)], [119, 1, 80]);
        assert!(all.iter().filter_map(mark).all(|mark| mark.starts_with(run)));
        let taken = restart(plane, namespace, &["--all", "--yes"]);
        assert_eq!(taken.code, 2, "{}", taken.out);
        assert!(taken.err.contains(&format!("outrigger restart --resume {run} -n {namespace}")), "{}", taken.err);

        kubectl(plane, &["patch", "deployment/w-100x", "-n", namespace, "--type=merge", "-p", UNSTUCK]).await;
        let resumed = restart(plane, namespace, &["--resume", "--yes", "--at-once", "40", "--timeout", "60s"]);
        assert_eq!(resumed.code, 0, "{}{}", resumed.out, resumed.err);
        assert!(resumed.err.contains("continues with 81 of its 200 workloads, of which 1 have begun"), "{}", resumed.err);
        let after = items(plane, namespace, "deployments").await;
        for (before, after) in all.iter().zip(&after) {
            assert_eq!((mark(after), restarted_at(after).is_some()), (None, true), "{}", name(after));
            if state(before) != "pending" {
                assert_eq!(restarted_at(before), restarted_at(after), "{} was restarted once", name(after));
            }
        }
        let left = [items(plane, namespace, "jobs").await, items(plane, namespace, "pods").await].concat();
        assert!(uids(&untouched).iter().all(|uid| uids(&left).contains(uid)), "the Job and the bare pod stay");
        let nothing = restart(plane, namespace, &["--resume"]);
        assert_eq!((nothing.code, nothing.err.contains("is unfinished")), (2, true), "{}", nothing.err);
    })
    .await;
}

fn budget(name: &str, min_available: u32) -> Value {
    let spec = json!({"minAvailable": min_available, "selector": {"matchLabels": {"app": name}}});
    json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name}, "spec": spec})
}

async fn await_allowed(plane: &ControlPlane, namespace: &str, allowed: u64) {
    await_condition("the budget to be counted", TIMEOUT, async || {
        let budgets = items(plane, namespace, "poddisruptionbudgets").await;
        let counted = |one: &Value| one["status"]["observedGeneration"] == one["metadata"]["generation"];
        let found = budgets.iter().all(|one| counted(one) && one["status"]["disruptionsAllowed"] == allowed);
        ensure!(found, "{budgets:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_drained_budget_is_waited_for_and_others_go_before() {
    let plane = ControlPlane::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        let db = workload("StatefulSet", "db", json!({"replicas": 2, "serviceName": "db"}));
        apply(plane, namespace, vec![db, deployment("web"), budget("db", 2)]).await;
        await_ready(plane, namespace, 3).await;
        await_allowed(plane, namespace, 0).await;
        let before = items(plane, namespace, "pods").await;
        let running = RestartProcess::start(plane, namespace, &["--all", "--yes", "--at-once", "1", "--timeout", "60s"]);
        running.await_output("deployment/web is restarted").await;
        running
            .await_output("Waiting for budgets: statefulset/db: PodDisruptionBudget db allows no disruption: 2 pods are healthy, and it asks for 2")
            .await;
        let db = &items(plane, namespace, "statefulsets").await[0];
        assert_eq!((state(db), restarted_at(db)), ("pending", None));
        apply(plane, namespace, vec![budget("db", 1)]).await;
        let done = running.end().await;
        assert_eq!(done.code, 0, "{}{}", done.out, done.err);
        let after = items(plane, namespace, "pods").await;
        assert!(uids(&before).iter().all(|uid| !uids(&after).contains(uid)), "all pods are new");
    })
    .await;
}

#[tokio::test]
async fn of_several_restarts_under_one_budget_one_goes_at_a_time() {
    let plane = ControlPlane::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        let names = ["a", "b", "c"];
        let set = |name: &str| workload("StatefulSet", name, json!({"replicas": 1, "serviceName": name}));
        let spec = json!({"maxUnavailable": 2, "selector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}});
        let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "all"}, "spec": spec});
        apply(plane, namespace, [names.map(set).to_vec(), vec![budget]].concat()).await;
        await_ready(plane, namespace, 3).await;
        await_allowed(plane, namespace, 2).await;

        let theirs = "outrigger.dev/restart=ffffffff.rolling.1.1795608000";
        kubectl(plane, &["label", "statefulset/c", "-n", namespace, theirs]).await;
        let running = RestartProcess::start(plane, namespace, &["statefulset/a", "--yes", "--timeout", "4m"]);
        running
            .await_output("statefulset/a: restart ffffffff replaces pods of statefulset/c, which PodDisruptionBudget all covers too")
            .await;
        let sets = items(plane, namespace, "statefulsets").await;
        assert_eq!((state(&sets[0]), restarted_at(&sets[0])), ("pending", None));
        kubectl(plane, &["label", "statefulset/c", "-n", namespace, "outrigger.dev/restart-"]).await;
        let done = running.end().await;
        assert_eq!(done.code, 0, "{}{}", done.out, done.err);

        let at_once = names.map(|name| {
            let arguments = [&format!("statefulset/{name}"), "--yes", "--timeout", "4m"];
            RestartProcess::start_named(plane, namespace, name, &arguments)
        });
        await_condition("all to be restarted", LONG, async || {
            let sets = items(plane, namespace, "statefulsets").await;
            let down = sets.iter().filter(|one| state(one) == "rolling" && is_started(one) && !is_up(one)).count();
            assert!(down < 2, "{sets:?}");
            ensure!(sets.iter().all(|one| mark(one).is_none() && restarted_at(one).is_some()), "{sets:?}");
            Ok(())
        })
        .await;
        for running in at_once {
            let done = running.end().await;
            assert_eq!(done.code, 0, "{}{}", done.out, done.err);
        }
    })
    .await;
}

/// Returns whether the pod template has the time of the mark, or a later one.
fn is_started(object: &Value) -> bool {
    let since: i64 = mark(object).unwrap().rsplit('.').next().unwrap().parse().unwrap();
    restarted_at(object).is_some_and(|at| at.parse::<jiff::Timestamp>().unwrap().as_second() >= since)
}

/// Returns whether the controller has replaced the only pod, which is ready. The mark may stay until the restart
/// looks again.
fn is_up(set: &Value) -> bool {
    let status = &set["status"];
    let is_current = status["observedGeneration"] == set["metadata"]["generation"];
    is_current && status["updatedReplicas"] == 1 && status["readyReplicas"] == 1
}

#[tokio::test]
async fn a_budget_that_never_lets_go_halts_the_restart_and_giving_it_up_leaves_no_mark() {
    let plane = ControlPlane::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        let db = workload("StatefulSet", "db", json!({"replicas": 1, "serviceName": "db"}));
        apply(plane, namespace, vec![db, budget("db", 1)]).await;
        await_ready(plane, namespace, 1).await;
        await_allowed(plane, namespace, 0).await;
        let halted = restart(plane, namespace, &["statefulset/db", "--yes", "--timeout", "3s"]);
        assert_eq!(halted.code, 1, "{}{}", halted.out, halted.err);
        assert!(
            halted.out.contains("Held: statefulset/db: PodDisruptionBudget db allows no disruption"),
            "{}",
            halted.out
        );
        let dry = restart(plane, namespace, &["--forget", "--dry-run"]);
        assert_eq!((dry.code, dry.out.as_str()), (0, "Nothing was changed.\n"), "{}", dry.err);
        let forgotten = restart(plane, namespace, &["--forget", "--yes", "-o", "json"]);
        assert_eq!(forgotten.code, 0, "{}", forgotten.err);
        assert_eq!(forgotten.json()["workloads"][0]["name"], "db");
        let db = &items(plane, namespace, "statefulsets").await[0];
        assert_eq!((mark(db), restarted_at(db)), (None, None));
    })
    .await;
}

#[tokio::test]
async fn what_replaces_nothing_by_itself_is_evicted_one_pod_after_another() {
    let plane = ControlPlane::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        let on_delete = json!({"type": "OnDelete"});
        let db =
            json!({"replicas": 3, "serviceName": "db", "updateStrategy": on_delete, "podManagementPolicy": "Parallel"});
        let agent = workload("DaemonSet", "agent", json!({"updateStrategy": on_delete}));
        let old = workload("ReplicaSet", "old", json!({"replicas": 2}));
        apply(plane, namespace, vec![workload("StatefulSet", "db", db), agent, old, budget("db", 3)]).await;
        await_ready(plane, namespace, 6).await;
        await_allowed(plane, namespace, 0).await;
        let before = items(plane, namespace, "pods").await;
        let running = RestartProcess::start(plane, namespace, &["--all", "--yes", "--timeout", "60s"]);
        running.await_output("daemonset/agent is restarted").await;
        running.await_output("replicaset/old is restarted").await;
        running.await_output("statefulset/db: the eviction of pod/db-2: Cannot evict pod").await;
        let pods = items(plane, namespace, "pods").await;
        assert_eq!(pods.iter().filter(|pod| uids(&before).contains(&uids(&[(*pod).clone()])[0])).count(), 3);
        apply(plane, namespace, vec![budget("db", 2)]).await;
        let done = running.end().await;
        assert_eq!(done.code, 0, "{}{}", done.out, done.err);
        let after = items(plane, namespace, "pods").await;
        assert!(uids(&before).iter().all(|uid| !uids(&after).contains(uid)), "all pods are new");
        let by_us = |event: &Value, verb: &str| {
            event["objectRef"]["resource"] == "pods" && event["verb"] == verb && event["user"]["username"] == "admin"
        };
        let log = plane.audit_log_of(namespace);
        assert!(!log.iter().any(|event| by_us(event, "delete")), "no pod is deleted past its budgets");
        let evictions =
            log.iter().filter(|event| by_us(event, "create") && event["objectRef"]["subresource"] == "eviction");
        let evicted = evictions.filter(|event| event["responseStatus"]["code"] == 201).count();
        assert_eq!(evicted, 6);
    })
    .await;
}

#[tokio::test]
async fn one_that_takes_longer_in_all_than_it_may_without_progress_comes_up() {
    let plane = ControlPlane::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        let db = json!({"replicas": 5, "serviceName": "db", "minReadySeconds": 5, "podManagementPolicy": "Parallel"});
        apply(plane, namespace, vec![workload("StatefulSet", "db", db)]).await;
        await_ready(plane, namespace, 5).await;
        let done = restart(plane, namespace, &["--all", "--yes", "--timeout", "20s"]);
        assert_eq!(done.code, 0, "{}{}", done.out, done.err);
    })
    .await;
}

#[tokio::test]
async fn an_interrupt_ends_it_in_order_and_it_can_be_gone_on_with() {
    let plane = ControlPlane::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        apply(plane, namespace, vec![deployment("a"), stuck("b-stuck"), deployment("c")]).await;
        await_ready(plane, namespace, 3).await;
        let running = RestartProcess::start(plane, namespace, &["--all", "--yes", "--at-once", "1"]);
        running.await_output("1 of 3 are done; now restarting deployment/b-stuck").await;
        running.await_output("Waiting for deployment/b-stuck: ").await;
        running.signal("INT");
        let stopped = running.end().await;
        assert_eq!(stopped.code, 1, "{}{}", stopped.out, stopped.err);
        assert!(stopped.out.contains("was stopped. Restarted: 1\n"), "{}", stopped.out);
        assert!(stopped.out.contains("Still rolling out, by themselves: deployment/b-stuck\n"), "{}", stopped.out);
        assert!(stopped.out.contains("Not begun: 1, such as deployment/c\n"), "{}", stopped.out);
        let deployments = items(plane, namespace, "deployments").await;
        let states: Vec<_> = deployments.iter().map(state).collect();
        assert_eq!(states, ["none", "rolling", "pending"]);
        let resume = stopped.out.lines().find_map(|line| line.strip_prefix("Resume with: outrigger restart ")).unwrap();
        let resume: Vec<&str> = resume.split(' ').chain(["--yes", "--timeout", "60s"]).collect();
        // Without the stuck one.
        let resumed =
            restart(plane, namespace, &[&resume[..2], &resume[4..], &["--except", "deploy/b-stuck"]].concat());
        assert_eq!(resumed.code, 0, "{}{}", resumed.out, resumed.err);
        let deployments = items(plane, namespace, "deployments").await;
        assert!(deployments.iter().all(|one| mark(one).is_none() && restarted_at(one).is_some()), "{deployments:?}");
    })
    .await;
}

fn role(namespace: &str, rules: Value) -> Vec<Value> {
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "tenant"}, "rules": rules});
    vec![
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tenant"}}),
        role,
        binding("tenant", namespace, "Role", "tenant"),
    ]
}

fn binding(name: &str, namespace: &str, kind: &str, role: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": "tenant", "namespace": namespace}],
    })
}

#[tokio::test]
async fn one_that_may_not_be_restarted_is_named_and_the_others_go_on() {
    let (plane, _outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        let names: Vec<String> = (0..40).map(|number| format!("w-{number:02}")).collect();
        apply(plane, namespace, names.iter().map(|name| deployment(name)).collect()).await;
        let allowed: Vec<_> = names.iter().filter(|name| *name != "w-17").collect();
        let rules = json!([
            {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list"]},
            {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch"], "resourceNames": allowed},
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
            {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": ["list"]},
        ]);
        apply(plane, namespace, role(namespace, rules)).await;
        await_ready(plane, namespace, 40).await;
        let token = plane.service_account_token(namespace, "tenant").await;
        let kubeconfig = plane.kubeconfig_for_token(&format!("tenant-{namespace}"), &token);
        let run =
            |arguments: &[&str]| outrigger(&[&["restart", "-n", namespace], arguments].concat(), Some(&kubeconfig), "");
        let asked = await_condition("the rights to count", TIMEOUT, async || {
            let asked = run(&["--all", "--dry-run"]);
            ensure!(asked.out.contains("Nothing was changed."), "{}{}", asked.out, asked.err);
            Ok(asked)
        })
        .await;
        assert_eq!(asked.code, 2, "{}", asked.out);
        assert!(
            asked.out.contains("deployment/w-17 cannot be written: ") && asked.out.lines().count() == 2,
            "{}",
            asked.out
        );
        let done = run(&["--all", "--yes", "--at-once", "20", "--timeout", "60s"]);
        assert_eq!(done.code, 2, "{}{}", done.out, done.err);
        assert!(done.out.contains("is over. Restarted: 39\nNot restarted: deployment/w-17: "), "{}", done.out);
        assert!(done.out.contains("; the ClusterRole outrigger-restart grants it\n"), "{}", done.out);
        let deployments = items(plane, namespace, "deployments").await;
        assert!(
            deployments.iter().all(|one| mark(one).is_none() && restarted_at(one).is_some() == (name(one) != "w-17"))
        );

        apply(plane, namespace, vec![binding("restart", namespace, "ClusterRole", "outrigger-restart")]).await;
        let done = await_condition("the ClusterRole to count", TIMEOUT, async || {
            let done = run(&["deployment/w-17", "--yes", "--timeout", "60s"]);
            ensure!(done.code == 0, "{}{}", done.out, done.err);
            Ok(done)
        })
        .await;
        assert!(!done.err.contains("left out"), "it grants the right to list all kinds: {}", done.err);
    })
    .await;
}

#[tokio::test]
async fn an_api_server_that_goes_away_in_the_middle_is_asked_again_and_one_that_stays_away_stops_it() {
    let plane = ControlPlane::start(Options { workloads: true, istiod: false }).await;
    with_temp_namespace(&plane, &[], async |namespace| {
        apply(&plane, namespace, vec![stuck("a-stuck"), deployment("b")]).await;
        await_ready(&plane, namespace, 2).await;
        let running =
            RestartProcess::start(&plane, namespace, &["--all", "--yes", "--at-once", "1", "--timeout", "4m"]);
        running.await_output("now restarting deployment/a-stuck").await;
        plane.kill("kube-apiserver");
        running.await_output("Asking the API server again: ").await;
        plane.start_api_server().await;
        running.await_output("The API server answers again.").await;
        running.signal("TERM");
        let stopped = running.end().await;
        assert_eq!(stopped.code, 1, "{}{}", stopped.out, stopped.err);

        let running =
            RestartProcess::start(&plane, namespace, &["--resume", "--yes", "--patience", "1s", "--timeout", "4m"]);
        running.await_output("Waiting for deployment/a-stuck").await;
        plane.kill("kube-apiserver");
        let stopped = running.end().await;
        assert_eq!(stopped.code, 2, "{}{}", stopped.out, stopped.err);
        assert!(stopped.out.contains("could not continue: the API server has not answered for 1 s"), "{}", stopped.out);
        assert!(
            stopped.out.contains("Still rolling out, by themselves: deployment/a-stuck\nNot begun: 1"),
            "{}",
            stopped.out
        );
        let away = restart(&plane, namespace, &["--resume", "--yes"]);
        assert_eq!((away.code, away.out.as_str()), (2, ""), "{}", away.err);

        plane.start_api_server().await;
        kubectl(&plane, &["patch", "deployment/a-stuck", "-n", namespace, "--type=merge", "-p", UNSTUCK]).await;
        let resumed = restart(&plane, namespace, &["--resume", "--yes", "--timeout", "90s"]);
        assert_eq!(resumed.code, 0, "{}{}", resumed.out, resumed.err);
        let deployments = items(&plane, namespace, "deployments").await;
        assert!(deployments.iter().all(|one| mark(one).is_none() && restarted_at(one).is_some()), "{deployments:?}");
    })
    .await;
}

#[tokio::test]
async fn what_others_do_to_it_meanwhile_is_respected_and_said() {
    let plane = ControlPlane::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        let others = ["b", "c", "d", "e", "f"].map(deployment);
        apply(plane, namespace, [vec![stuck("a-held")], others.to_vec()].concat()).await;
        await_ready(plane, namespace, 6).await;
        let running =
            RestartProcess::start(plane, namespace, &["--all", "--yes", "--at-once", "1", "--timeout", "60s"]);
        running.await_output("now restarting deployment/a-held").await;
        kubectl(plane, &["label", "deployment/b", "-n", namespace, "outrigger.dev/restart-"]).await;
        kubectl(plane, &["delete", "deployment/c", "-n", namespace]).await;
        kubectl(plane, &["label", "deployment/d", "-n", namespace, "team=a"]).await;
        kubectl(plane, &["rollout", "pause", "deployment/e", "-n", namespace]).await;
        kubectl(plane, &["scale", "--replicas=0", "deployment/f", "-n", namespace]).await;
        kubectl(plane, &["patch", "deployment/a-held", "-n", namespace, "--type=merge", "-p", UNSTUCK]).await;
        let done = running.end().await;
        assert_eq!(done.code, 0, "{}{}", done.out, done.err);
        assert!(done.out.contains("Passed over: deployment/b: its mark of this restart was removed\n"), "{}", done.out);
        assert!(done.out.contains("Passed over: deployment/c: gone\n"), "{}", done.out);
        assert!(
            done.out.contains("Passed over: deployment/e: paused: run `kubectl rollout resume` first"),
            "{}",
            done.out
        );
        assert!(done.out.contains("Passed over: deployment/f: scaled to zero"), "{}", done.out);
        // A named workload that is not restarted means exit code 1.
        let some = restart(plane, namespace, &["deployment/a-held", "deployment/f", "--dry-run", "-o", "json"]);
        assert_eq!((some.code, &some.json()["skipped"][0]["name"]), (1, &json!("f")), "{}", some.err);
        let deployments = items(plane, namespace, "deployments").await;
        let restarted: Vec<_> = deployments.iter().map(|one| (name(one), restarted_at(one).is_some())).collect();
        let wanted = [("a-held", true), ("b", false), ("d", true), ("e", false), ("f", false)];
        assert_eq!(
            restarted, wanted,
            "a write of others is no obstacle, and nothing is written that would not roll out"
        );
        assert!(deployments.iter().all(|one| mark(one).is_none()));
        let replica_sets = items(plane, namespace, "replicasets").await;
        let left = replica_sets.iter().filter(|one| one["metadata"].to_string().contains("outrigger.dev/restart"));
        assert_eq!(left.map(name).collect::<Vec<_>>(), [""; 0], "or a roll-back would bring it back");
    })
    .await;
}

#[tokio::test]
async fn a_pod_template_that_somebody_puts_back_halts_it_and_going_on_tells_it_again() {
    let plane = ControlPlane::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        apply(plane, namespace, vec![stuck("a-undone")]).await;
        await_ready(plane, namespace, 1).await;
        let before = items(plane, namespace, "pods").await;
        let running = RestartProcess::start(plane, namespace, &["--all", "--yes", "--timeout", "4m"]);
        await_condition("the roll-out to be undone", TIMEOUT, async || {
            let undone = plane.kubectl(&["rollout", "undo", "deployment/a-undone", "-n", namespace]).await;
            ensure!(undone.status.success(), "{}", String::from_utf8_lossy(&undone.stderr));
            Ok(())
        })
        .await;
        let halted = running.end().await;
        assert_eq!(halted.code, 1, "{}{}", halted.out, halted.err);
        let why = "Does not come up: deployment/a-undone: its pod template was put back, so it keeps its old pods";
        assert!(halted.out.contains(why), "{}", halted.out);
        let deployment = &items(plane, namespace, "deployments").await[0];
        assert_eq!((state(deployment), restarted_at(deployment)), ("pending", None));
        kubectl(plane, &["patch", "deployment/a-undone", "-n", namespace, "--type=merge", "-p", UNSTUCK]).await;
        let resumed = restart(plane, namespace, &["--resume", "--yes", "--timeout", "60s"]);
        assert_eq!(resumed.code, 0, "{}{}", resumed.out, resumed.err);
        assert!(resumed.err.contains("of which 0 have begun"), "{}", resumed.err);
        let after = items(plane, namespace, "pods").await;
        assert!(uids(&before).iter().all(|uid| !uids(&after).contains(uid)), "the pod is new");
    })
    .await;
}

/// Makes an admission policy that removes the mark from every object of a namespace.
fn policy_against_marks(name: &str, namespace: &str) -> [Value; 2] {
    let group = "admissionregistration.k8s.io/v1";
    let marked = "has(object.metadata.labels) && 'outrigger.dev/restart' in object.metadata.labels";
    let take_off =
        "[JSONPatch{op: 'remove', path: '/metadata/labels/' + jsonpatch.escapeKey('outrigger.dev/restart')}]";
    let rule = json!({"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["*"]});
    let spec = json!({
        "failurePolicy": "Fail", "reinvocationPolicy": "Never", "matchConstraints": {"resourceRules": [rule]},
        "matchConditions": [{"name": "marked", "expression": marked}],
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": take_off}}],
    });
    let namespaces = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}});
    let binding = json!({"policyName": name, "matchResources": namespaces});
    [("MutatingAdmissionPolicy", spec), ("MutatingAdmissionPolicyBinding", binding)]
        .map(|(kind, spec)| json!({"apiVersion": group, "kind": kind, "metadata": {"name": name}, "spec": spec}))
}

#[tokio::test]
async fn where_an_admission_policy_takes_the_mark_off_nothing_is_restarted_and_that_is_said() {
    let plane = ControlPlane::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        apply(plane, namespace, vec![deployment("web")]).await;
        await_ready(plane, namespace, 1).await;
        let policy = format!("no-marks-{namespace}");
        for object in policy_against_marks(&policy, namespace) {
            plane.apply(&object.to_string()).await;
        }
        let why = "deployment/web cannot be written: an admission policy changes its label outrigger.dev/restart";
        await_condition("the policy to count", TIMEOUT, async || {
            let asked = restart(plane, namespace, &["--all", "--dry-run"]);
            ensure!(asked.out.contains(why), "{}{}", asked.out, asked.err);
            Ok(())
        })
        .await;
        let refused = restart(plane, namespace, &["--all", "--yes"]);
        assert_eq!(refused.code, 2, "{}{}", refused.out, refused.err);
        assert!(
            refused.out.contains("Not restarted: deployment/web: an admission policy changes its label"),
            "{}",
            refused.out
        );
        assert_eq!(restarted_at(&items(plane, namespace, "deployments").await[0]), None);
        for kind in ["mutatingadmissionpolicybinding", "mutatingadmissionpolicy"] {
            kubectl(plane, &["delete", kind, &policy]).await;
        }
    })
    .await;
}

#[tokio::test]
async fn rights_that_are_over_in_the_middle_stop_it_and_somebody_else_can_go_on() {
    let (plane, _outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        apply(plane, namespace, vec![stuck("a-watched"), deployment("b")]).await;
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tenant"}});
        apply(plane, namespace, vec![account, binding("restart", namespace, "ClusterRole", "outrigger-restart")]).await;
        await_ready(plane, namespace, 2).await;
        let token = plane.service_account_token(namespace, "tenant").await;
        let kubeconfig = plane.kubeconfig_for_token(&format!("tenant-{namespace}"), &token);
        await_condition("the rights to count", TIMEOUT, async || {
            let asked = outrigger(&["restart", "-n", namespace, "--all", "--dry-run"], Some(&kubeconfig), "");
            ensure!(asked.code == 0, "{}{}", asked.out, asked.err);
            Ok(())
        })
        .await;
        let running = RestartProcess::start_as(
            plane,
            &kubeconfig,
            namespace,
            &["--all", "--yes", "--at-once", "1", "--timeout", "4m"],
        );
        running.await_output("now restarting deployment/a-watched").await;
        kubectl(plane, &["delete", "serviceaccount/tenant", "-n", namespace]).await;
        let stopped = running.end().await;
        assert_eq!(stopped.code, 2, "{}{}", stopped.out, stopped.err);
        let why = "could not continue: the API server does not know this token, or not any more. Restarted: 0";
        assert!(stopped.out.contains(why), "{}", stopped.out);
        kubectl(plane, &["patch", "deployment/a-watched", "-n", namespace, "--type=merge", "-p", UNSTUCK]).await;
        let resumed = restart(plane, namespace, &["--resume", "--yes", "--timeout", "60s"]);
        assert_eq!(resumed.code, 0, "{}{}", resumed.out, resumed.err);
    })
    .await;
}

#[tokio::test]
async fn only_what_drifts_is_restarted_where_that_is_asked_for() {
    let (plane, _outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        let mut out = deployment("out");
        out["spec"]["template"]["metadata"]["annotations"] = json!({"outrigger.dev/inject": "false"});
        let bare = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "debug"}, "spec": {"containers": [{"name": "main", "image": "example.test/main:1"}]}});
        apply(plane, namespace, vec![deployment("web"), out, bare]).await;
        await_ready(plane, namespace, 3).await;
        let nothing = restart(plane, namespace, &["--drifted", "--yes"]);
        assert_eq!(nothing.code, 0, "{}{}", nothing.out, nothing.err);
        assert!(nothing.err.contains(&format!("Nothing to restart in namespace {namespace}.")), "{}", nothing.err);
        plane.apply(&super::policy(namespace, "Enable")).await;
        super::await_label(plane, namespace, Some("true")).await;
        let done = restart(plane, namespace, &["--drifted", "--yes", "--timeout", "60s", "-o", "json"]);
        assert_eq!(done.code, 0, "{}{}", done.out, done.err);
        assert_eq!(done.json()["restarted"], json!([{"namespace": namespace, "kind": "Deployment", "name": "web"}]));
        assert!(done.err.contains("  pod/debug"), "{}", done.err);
        let pods = items(plane, namespace, "pods").await;
        let injected = pods.iter().filter(|pod| pod["metadata"]["annotations"]["sidecar.istio.io/status"].is_string());
        assert!(injected.map(name).all(|name| name.starts_with("web-")) && pods.len() == 3);
        let again = restart(plane, namespace, &["--drifted", "--yes", "-o", "json"]);
        assert!(again.err.contains("Nothing to restart in namespace"), "{}", again.err);
        assert_eq!((again.code, &again.json()["restarted"]), (0, &json!([])));
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_with_what_could_be() {
    let plane = ControlPlane::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        apply(plane, namespace, vec![deployment("checkout")]).await;
        let refused = |arguments: &[&str], words: &str| {
            let told = restart(plane, namespace, arguments);
            assert_eq!((told.code, told.out.as_str()), (2, ""), "{}", told.err);
            assert!(told.err.contains(words), "{arguments:?}: {}", told.err);
        };
        refused(&["deploy/chekout"], "did you mean deployment/checkout?");
        refused(&["deploymnt/checkout"], "did you mean deployment?");
        refused(&["pod/checkout-1"], "a pod cannot be restarted: name its workload");
        refused(&["-l", "=checkout"], "is not the key of a label");
        refused(&["--yes"], "name workloads to restart, such as deployment/web, or pass --all");
        refused(&["deployment/checkout", "--all"], "cannot be used with");
        refused(&["--resume", "3f2a9c01"], "no restart in namespace");
        let labelled = |selector: &str| {
            let told = restart(plane, namespace, &["-l", selector, "--dry-run", "-o", "json"]);
            told.json()["workloads"].as_array().unwrap().len()
        };
        assert_eq!(["app!=web", "team!=a", "team", "!team"].map(labelled), [1, 1, 0, 1]);
        refused(&["deployment/checkout"], "stdin is not a terminal: pass --yes to confirm");
        refused(&["deployment/checkout", "--drifted"], "cannot be used with");
        refused(&["--all", "--at-once", "0"], "0 is not in 1..=1000");
        let nowhere = restart(plane, "kube-sytem", &["--all", "--yes"]);
        assert_eq!(nowhere.code, 2);
        assert!(nowhere.err.contains("there is no namespace kube-sytem; did you mean kube-system?"), "{}", nowhere.err);
        let away = outrigger(&["restart", "--all", "--yes"], None, "");
        assert_eq!((away.code, away.err.contains("cannot find a cluster")), (2, true), "{}", away.err);
    })
    .await;
}
