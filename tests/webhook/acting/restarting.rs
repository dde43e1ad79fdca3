//! Restarts by the API: to their end, stopped by a user or an expired token, resumed, and forgotten.

use std::process::Command;

use anyhow::ensure;
use serde_json::{Value, json};

use super::super::TIMEOUT;
use super::super::api::{account, asked, binding};
use super::super::installed::{OUR_USER, Outrigger};
use super::super::restarting::{UNSTUCK, apply, await_ready, deployment, items, mark, name, restarted_at, stuck};
use crate::control_plane::{ControlPlane, await_condition, with_temp_namespace};

/// User who calls the API for a namespace.
struct RestartCaller<'a> {
    outrigger: &'a Outrigger,
    path: String,
    token: String,
}

impl<'a> RestartCaller<'a> {
    async fn new(plane: &ControlPlane, outrigger: &'a Outrigger, namespace: &str, account: &str, role: &str) -> Self {
        let token = self::account(plane, namespace, account).await;
        plane.apply(&binding(namespace, account, role)).await;
        let asking = Self { outrigger, path: format!("/namespaces/{namespace}/restarts"), token };
        await_condition("the right to count", TIMEOUT, async || {
            let (status, answer) = asking.ask("GET", "", None).await;
            ensure!(status == 200, "{status}: {answer}");
            Ok(())
        })
        .await;
        asking
    }

    async fn ask(&self, method: &str, rest: &str, body: Option<Value>) -> (u16, Value) {
        let path = format!("{}{rest}", self.path);
        asked(self.outrigger, method, &path, &self.token, body, "").await
    }

    /// Begins a restart, and returns its identifier.
    async fn begin(&self, body: Value) -> String {
        let (status, begun) = self.ask("POST", "", Some(body)).await;
        assert_eq!((status, &begun["state"]), (202, &json!("Running")), "{begun}");
        begun["run"].as_str().unwrap().to_owned()
    }

    async fn await_end(&self, run: &str) -> Value {
        await_condition("the restart to end", 2 * TIMEOUT, async || {
            let (status, told) = self.ask("GET", &format!("/{run}"), None).await;
            ensure!(status == 200 && told["state"] != "Running", "{status}: {told}");
            Ok(told)
        })
        .await
    }

    async fn await_stuck(&self, run: &str) {
        await_condition("the restart to wait for what does not come up", TIMEOUT, async || {
            let (_, told) = self.ask("GET", &format!("/{run}"), None).await;
            ensure!(told["waiting"][0]["name"] == "a-stuck", "{told}");
            Ok(())
        })
        .await;
    }
}

/// Waits for the audit entry of the end of a restart.
async fn await_end_entry(outrigger: &Outrigger, run: &str) -> Value {
    await_condition("the end to be recorded", TIMEOUT, async || {
        let of = |entry: &Value| entry["act"] == "RestartOver" && entry["object"]["name"] == run;
        outrigger.entries_where(of).pop().ok_or_else(|| anyhow::anyhow!("not yet"))
    })
    .await
}

#[tokio::test]
async fn a_namespace_is_restarted_by_whoever_may_and_each_step_is_told() {
    let (plane, outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        apply(plane, namespace, ["a", "b", "c"].map(deployment).to_vec()).await;
        let editor = RestartCaller::new(plane, outrigger, namespace, "editor", "edit").await;
        let viewer = RestartCaller::new(plane, outrigger, namespace, "viewer", "view").await;
        await_ready(plane, namespace, 3).await;

        let (status, planned) = editor.ask("POST", "?dryRun=true", Some(json!({"all": true}))).await;
        assert_eq!((status, planned["workloads"].as_array().unwrap().len()), (200, 3), "{planned}");
        let (status, refused) = viewer.ask("POST", "", Some(json!({"all": true}))).await;
        assert!(status == 403 && refused["detail"].as_str().unwrap().contains("cannot patch"), "{status}: {refused}");
        let (_, refused) = viewer.ask("POST", "?dryRun=true", Some(json!({"all": true}))).await;
        assert_eq!(refused["refused"].as_array().unwrap().len(), 3, "{refused}");
        let (status, wrong) =
            editor.ask("POST", "", Some(json!({"workloads": [{"kind": "deployment", "name": "aa"}]}))).await;
        assert!(status == 422 && wrong["detail"].as_str().unwrap().contains("did you mean deployment/a?"), "{wrong}");
        let before = items(plane, namespace, "deployments").await;
        assert!(before.iter().all(|one| mark(one).is_none() && restarted_at(one).is_none()), "nothing has begun");

        let run = editor.begin(json!({"all": true, "atOnce": 2, "timeout": "1m"})).await;
        let told = watched(outrigger, &editor, &run).await;
        for part in ["event: snapshot", "\"step\":\"wave\"", "\"step\":\"restarted\"", "event: ended", "\"Completed\""]
        {
            assert!(told.contains(part), "{part}: {told}");
        }
        let ended = editor.await_end(&run).await;
        assert_eq!(
            (&ended["state"], &ended["over"], &ended["of"]),
            (&json!("Completed"), &json!(3), &json!(3)),
            "{ended}"
        );
        let after = items(plane, namespace, "deployments").await;
        assert!(after.iter().all(|one| mark(one).is_none() && restarted_at(one).is_some()));
        let (_, listed) = viewer.ask("GET", "", None).await;
        assert_eq!((&listed["items"][0]["run"], &listed["partial"]), (&json!(run), &json!(true)), "{listed}");
        let (status, over) = editor.ask("POST", &format!("/{run}/cancel"), None).await;
        assert_eq!(status, 409, "{over}");

        let end = await_end_entry(outrigger, &run).await;
        assert_eq!((&end["id"], &end["outcome"]), (&ended["auditId"], &json!("Allowed")), "{end}");
        assert_eq!((&end["actor"]["user"], &end["after"]["restarted"]), (&ended["user"], &json!(3)), "{end}");
        let events = plane.audit_log_of(namespace);
        let patches =
            events.iter().filter(|one| one["verb"] == "patch" && one["objectRef"]["resource"] == "deployments");
        assert!(patches.clone().count() >= 6 && patches.clone().all(|one| one["user"]["username"] != OUR_USER));
    })
    .await;
}

/// Returns the events of a restart until its end.
async fn watched(outrigger: &Outrigger, asking: &RestartCaller<'_>, run: &str) -> String {
    let url = format!("{}{}/{run}?watch=true", outrigger.api(), asking.path);
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--insecure", "--no-buffer", "--max-time", "60"]);
    command.args(["--header", &format!("Authorization: Bearer {}", asking.token), &url]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_restart_that_is_stopped_begins_nothing_else_and_is_gone_on_with() {
    let (plane, outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        apply(plane, namespace, vec![stuck("a-stuck"), deployment("b"), deployment("c")]).await;
        let editor = RestartCaller::new(plane, outrigger, namespace, "editor", "edit").await;
        let viewer = RestartCaller::new(plane, outrigger, namespace, "viewer", "view").await;
        await_ready(plane, namespace, 3).await;
        let run = editor.begin(json!({"all": true, "atOnce": 1})).await;
        editor.await_stuck(&run).await;
        let (status, taken) = editor.ask("POST", "", Some(json!({"all": true}))).await;
        assert!(status == 409 && taken["detail"].as_str().unwrap().contains(&run), "{status}: {taken}");
        let (status, twice) = editor.ask("POST", "", Some(json!({"resume": run}))).await;
        assert!(status == 409 && twice["detail"].as_str().unwrap().contains("runs here already"), "{status}: {twice}");
        let (status, refused) = viewer.ask("POST", &format!("/{run}/cancel"), None).await;
        assert!(
            status == 403 && refused["detail"].as_str().unwrap().contains("may not patch deployments.apps"),
            "{refused}"
        );
        let (status, stopping) = editor.ask("POST", &format!("/{run}/cancel"), None).await;
        assert_eq!(status, 202, "{stopping}");
        let stopped = editor.await_end(&run).await;
        assert_eq!((&stopped["state"], &stopped["canResume"]), (&json!("Interrupted"), &json!(true)), "{stopped}");
        let all = items(plane, namespace, "deployments").await;
        let begun: Vec<_> = all.iter().filter(|one| restarted_at(one).is_some()).map(name).collect();
        assert_eq!(begun, ["a-stuck"]);
        assert!(all.iter().all(|one| mark(one).is_some_and(|mark| mark.starts_with(&run))), "all are marked still");
        assert_eq!(await_end_entry(outrigger, &run).await["outcome"], "Failed");

        unstuck(plane, namespace).await;
        let (status, refused) = viewer.ask("POST", "", Some(json!({"resume": run}))).await;
        assert_eq!(status, 403, "{refused}");
        assert_eq!(editor.begin(json!({"resume": run})).await, run);
        let ended = editor.await_end(&run).await;
        assert_eq!((&ended["state"], &ended["over"]), (&json!("Completed"), &json!(3)), "{ended}");
        assert!(items(plane, namespace, "deployments").await.iter().all(|one| mark(one).is_none()));
    })
    .await;
}

#[tokio::test]
async fn a_token_that_is_over_stops_its_restart_and_somebody_else_goes_on() {
    let (plane, outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        apply(plane, namespace, vec![stuck("a-stuck"), deployment("b")]).await;
        let leaver = RestartCaller::new(plane, outrigger, namespace, "leaver", "edit").await;
        let stayer = RestartCaller::new(plane, outrigger, namespace, "stayer", "edit").await;
        await_ready(plane, namespace, 2).await;
        let run = leaver.begin(json!({"all": true, "atOnce": 1})).await;
        leaver.await_stuck(&run).await;
        let deleted = plane.kubectl(&["delete", "serviceaccount", "leaver", "-n", namespace]).await;
        assert!(deleted.status.success());
        let stopped = stayer.await_end(&run).await;
        assert_eq!(stopped["state"], "Stopped", "{stopped}");
        assert!(stopped["why"].as_str().unwrap().contains("does not know this token"), "{stopped}");
        assert_eq!(await_end_entry(outrigger, &run).await["why"], stopped["why"]);
        unstuck(plane, namespace).await;
        assert_eq!(stayer.begin(json!({"resume": run})).await, run);
        assert_eq!(stayer.await_end(&run).await["state"], "Completed");
        let (_, listed) = stayer.ask("GET", "", None).await;
        assert_eq!(listed["items"].as_array().unwrap().len(), 1, "it is the same restart: {listed}");
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_is_stopped_in_order_leaves_its_restart_to_be_gone_on_with() {
    let (plane, outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        apply(plane, namespace, vec![stuck("a-stuck"), deployment("b")]).await;
        let leaving = Outrigger::start_beside(plane, "leaving").await;
        let editor = RestartCaller::new(plane, &leaving, namespace, "editor", "edit").await;
        await_ready(plane, namespace, 2).await;
        let run = editor.begin(json!({"all": true, "atOnce": 1})).await;
        editor.await_stuck(&run).await;
        let other = RestartCaller { outrigger, path: editor.path.clone(), token: editor.token.clone() };
        assert_eq!(other.ask("GET", &format!("/{run}"), None).await.0, 404, "each replica knows its own");
        leaving.terminate();
        let end = await_end_entry(&leaving, &run).await;
        assert_eq!((&end["outcome"], &end["after"]["pending"]), (&json!("Failed"), &json!(1)), "{end}");
        unstuck(plane, namespace).await;
        assert_eq!(other.begin(json!({"resume": run})).await, run);
        assert_eq!(other.await_end(&run).await["state"], "Completed");
    })
    .await;
}

#[tokio::test]
async fn what_an_override_leaves_drifting_is_restarted_and_then_nothing_is() {
    let (plane, outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        apply(plane, namespace, ["web", "other"].map(deployment).to_vec()).await;
        let editor = RestartCaller::new(plane, outrigger, namespace, "editor", "edit").await;
        await_ready(plane, namespace, 2).await;
        let path = format!("/namespaces/{namespace}/workloads/deployment/web/override");
        let (status, told) = asked(outrigger, "PUT", &path, &editor.token, Some(json!({"action": "Enable"})), "").await;
        assert_eq!((status, &told["after"]["effect"]["outcome"]), (200, &json!("Injected")), "{told}");
        let only_web = json!([{"namespace": namespace, "kind": "Deployment", "name": "web"}]);
        await_condition("the drift to be known", TIMEOUT, async || {
            let (status, planned) = editor.ask("POST", "?dryRun=true", Some(json!({"drifted": true}))).await;
            ensure!(status == 200 && planned["workloads"] == only_web, "{status}: {planned}");
            Ok(())
        })
        .await;
        let run = editor.begin(json!({"drifted": true, "timeout": "1m"})).await;
        assert_eq!(editor.await_end(&run).await["report"]["restarted"], only_web);
        await_condition("nothing to drift any more", TIMEOUT, async || {
            let (status, nothing) = editor.ask("POST", "", Some(json!({"drifted": true}))).await;
            ensure!(status == 200 && nothing["workloads"] == json!([]), "{status}: {nothing}");
            Ok(())
        })
        .await;
    })
    .await;
}

fn of_tier(tier: &str, object: Value) -> Value {
    let mut object = object;
    object["metadata"]["labels"] = json!({"tier": tier});
    object
}

fn named(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"kind": "Deployment", "name": name})).collect()
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn those_with_a_label_are_restarted_but_for_one_and_what_is_stuck_is_gone_on_without() {
    let (plane, outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        let front = [stuck("a-stuck"), deployment("b"), deployment("c")].map(|one| of_tier("front", one));
        apply(plane, namespace, [front.to_vec(), vec![of_tier("back", deployment("d"))]].concat()).await;
        let editor = RestartCaller::new(plane, outrigger, namespace, "editor", "edit").await;
        await_ready(plane, namespace, 4).await;
        let wanted = |except: &[&str]| {
            let selector = json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["front"]}]});
            json!({"selector": selector, "except": named(except), "atOnce": 1, "timeout": "5s"})
        };
        let refused = async |body: Value, part: &str| {
            let (status, refused) = editor.ask("POST", "", Some(body)).await;
            assert!(status == 422 && refused["detail"].as_str().unwrap().contains(part), "{status}: {refused}");
        };
        let (status, planned) = editor.ask("POST", "?dryRun=true", Some(wanted(&["c"]))).await;
        assert_eq!(status, 200, "{planned}");
        assert_eq!((names(&planned["workloads"]), names(&planned["excepted"])), (vec!["a-stuck", "b"], vec!["c"]));
        refused(wanted(&["a-stukc"]), "there is no deployment/a-stukc in namespace").await;
        refused(wanted(&["a-stukc"]), "did you mean deployment/a-stuck?").await;
        let run = editor.begin(wanted(&["c"])).await;
        let halted = editor.await_end(&run).await;
        assert_eq!((&halted["state"], names(&halted["report"]["pending"])), (&json!("Halted"), vec!["b"]), "{halted}");
        assert_eq!(names(&halted["report"]["notUp"]), ["a-stuck"]);
        let before = items(plane, namespace, "deployments").await;
        let marked: Vec<_> = before.iter().filter(|one| mark(one).is_some()).map(name).collect();
        assert_eq!(marked, ["a-stuck", "b"]);

        let without = |except: &[&str]| json!({"resume": run, "except": named(except)});
        refused(without(&["a-stukc"]), "did you mean deployment/a-stuck?").await;
        let (_, planned) = editor.ask("POST", "?dryRun=true", Some(without(&["a-stuck", "d"]))).await;
        assert_eq!((names(&planned["workloads"]), names(&planned["excepted"])), (vec!["b"], vec!["a-stuck"]));
        assert_eq!(editor.begin(without(&["a-stuck"])).await, run);
        let ended = editor.await_end(&run).await;
        assert_eq!((&ended["state"], &ended["canResume"]), (&json!("Completed"), &json!(false)), "{ended}");
        assert_eq!(names(&ended["report"]["restarted"]), ["b"]);
        let after = items(plane, namespace, "deployments").await;
        assert!(after.iter().all(|one| mark(one).is_none()), "{after:?}");
        let restarted: Vec<_> = after.iter().filter(|one| restarted_at(one).is_some()).map(name).collect();
        assert_eq!(restarted, ["a-stuck", "b"]);
        assert_eq!(restarted_at(&before[0]), restarted_at(&after[0]), "what is stuck is left as it is");
        let resumed = outrigger.entries_where(|one| one["act"] == "Restart" && one["object"]["name"] == run);
        assert_eq!(resumed.last().unwrap()["after"], json!({"workloads": 1, "excepted": 1}));
    })
    .await;
}

#[tokio::test]
async fn a_restart_that_is_given_up_leaves_no_mark_and_one_that_runs_has_to_be_stopped_first() {
    let (plane, outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        apply(plane, namespace, vec![stuck("a-stuck"), deployment("b"), deployment("c")]).await;
        let editor = RestartCaller::new(plane, outrigger, namespace, "editor", "edit").await;
        let viewer = RestartCaller::new(plane, outrigger, namespace, "viewer", "view").await;
        await_ready(plane, namespace, 3).await;
        let run = editor.begin(json!({"all": true, "atOnce": 1})).await;
        editor.await_stuck(&run).await;
        let forget = format!("/{run}/forget");
        let (status, running) = editor.ask("POST", &forget, None).await;
        assert!(status == 409 && running["detail"].as_str().unwrap().contains("cancel it first"), "{running}");
        assert_eq!(editor.ask("POST", &format!("/{run}/cancel"), None).await.0, 202);
        assert_eq!(editor.await_end(&run).await["canResume"], true);

        let before = items(plane, namespace, "deployments").await;
        let (status, refused) = viewer.ask("POST", &forget, None).await;
        assert!(status == 403 && refused["detail"].as_str().unwrap().contains("keeps its mark"), "{status}: {refused}");
        let (_, refused) = viewer.ask("POST", &format!("{forget}?dryRun=true"), None).await;
        assert_eq!(names(&refused["refused"]), ["a-stuck", "b", "c"]);
        let (_, refused) = viewer.ask("POST", "?dryRun=true", Some(json!({"resume": run}))).await;
        assert_eq!(names(&refused["refused"]), ["a-stuck", "b", "c"]);
        let (status, dry) = editor.ask("POST", &format!("{forget}?dryRun=true"), None).await;
        assert_eq!((status, &dry["refused"], &dry["dryRun"]), (200, &json!([]), &json!(true)), "{dry}");
        let (status, unknown) = editor.ask("POST", "/aa/forget", None).await;
        let these = format!("unfinished are: {run} (3 of 3 left)");
        assert!(status == 404 && unknown["detail"].as_str().unwrap().contains(&these), "{status}: {unknown}");
        let generations =
            |all: &[Value]| all.iter().map(|one| one["metadata"]["generation"].clone()).collect::<Vec<_>>();
        let still = items(plane, namespace, "deployments").await;
        assert!(still.iter().all(|one| mark(one).is_some_and(|mark| mark.starts_with(&run))), "nothing is done yet");

        let (status, forgotten) = editor.ask("POST", &forget, None).await;
        assert_eq!((status, names(&forgotten["workloads"])), (200, vec!["a-stuck", "b", "c"]), "{forgotten}");
        let after = items(plane, namespace, "deployments").await;
        assert!(after.iter().all(|one| mark(one).is_none()), "{after:?}");
        assert_eq!(generations(&before), generations(&after), "no template is touched");
        assert_eq!(editor.await_end(&run).await["canResume"], false);
        assert_eq!(editor.ask("POST", &forget, None).await.0, 404, "nothing of it is left");
        let of = |one: &Value| one["act"] == "RestartForget" && one["object"]["name"] == run;
        let told = outrigger.entries_where(|one| of(one) && one["outcome"] == "Allowed" && one["dryRun"].is_null());
        assert_eq!((told.len(), &told[0]["after"]), (1, &json!({"workloads": 3})), "{told:?}");
        let events = plane.audit_log_of(namespace);
        assert!(events.iter().all(|one| one["verb"] != "patch" || one["user"]["username"] != OUR_USER));

        let of_others = ["label", "deployment/b", "-n", namespace, "outrigger.dev/restart=ffffffff.pending.1"];
        assert!(plane.kubectl(&of_others).await.status.success());
        let (status, taken) = editor.ask("POST", "", Some(json!({"all": true}))).await;
        assert!(status == 409 && taken["detail"].as_str().unwrap().contains("restarts/ffffffff/forget"), "{taken}");
        let (status, forgotten) = editor.ask("POST", "/ffffffff/forget", None).await;
        assert_eq!((status, names(&forgotten["workloads"])), (200, vec!["b"]), "what no replica runs: {forgotten}");
    })
    .await;
}

async fn unstuck(plane: &ControlPlane, namespace: &str) {
    let patch = ["patch", "deployment/a-stuck", "-n", namespace, "--type=merge", "-p", UNSTUCK];
    assert!(plane.kubectl(&patch).await.status.success());
}
