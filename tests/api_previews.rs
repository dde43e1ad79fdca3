//! `POST /api/v1/preview`: the same previews as the command prints, and refusals.

use serde_json::{Value, json};

use crate::api::{HttpAnswer, send_json, send_text};
use crate::api_reads::{ApiWorld, without};

const OUT: &str = "{apiVersion: outrigger.dev/v1alpha1, kind: ClusterInjectionPolicy, metadata: {name: out}, spec: {action: Disable, priority: 9}}";
const OF_SHOP: &str =
    "{apiVersion: outrigger.dev/v1alpha1, kind: InjectionPolicy, metadata: {name: out}, spec: {action: Disable}}";

fn policy(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "outrigger.dev/v1alpha1", "kind": "ClusterInjectionPolicy", "metadata": {"name": name}, "spec": spec})
}

fn yaml(world: &ApiWorld, path: &str, text: &str) -> HttpAnswer {
    send_text(&world.served, "POST", &format!("/api/v1{path}"), ("application/yaml", text))
}

fn previewed(world: &ApiWorld, path: &str, body: &Value) -> Value {
    let answer = send_json(&world.served, "POST", &format!("/api/v1{path}"), Some(body), &[]);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[test]
fn what_the_api_previews_is_what_the_command_prints() {
    let world = ApiWorld::start();
    let answered = || world.served.review_sample().unwrap().1["response"]["patch"].clone();
    let before = (world.get("/overview"), answered());
    assert!(before.1.is_string(), "a pod of the shop is enabled: {}", before.1);
    let in_yaml = yaml(&world, "/preview", &format!("{OUT}\n---\n")).json();
    let own = ["omitted", "partial"];
    assert_eq!(without(in_yaml.clone(), &own), world.command_output_with_input(&["preview", "-f", "-"], OUT));
    assert_eq!(in_yaml["summary"]["losing"], 3, "{in_yaml}");
    let object = policy("out", &json!({"action": "Disable", "priority": 9}));
    assert_eq!(previewed(&world, "/preview", &object), in_yaml, "one object in JSON is the same");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [object]});
    assert_eq!(previewed(&world, "/preview", &list), in_yaml, "and so is a list of it");

    let of_shop = yaml(&world, "/namespaces/shop/preview", OF_SHOP).json();
    let printed = world.command_output_with_input(&["preview", "-f", "-", "-n", "shop"], OF_SHOP);
    assert_eq!(of_shop["namespaces"], printed["namespaces"]);
    assert_eq!(
        of_shop["changes"],
        json!([{"kind": "InjectionPolicy", "name": "out", "namespace": "shop", "change": "New"}])
    );
    assert_eq!(of_shop["summary"]["workloads"], 4, "those of other namespaces are not looked at");

    let deleted = yaml(&world, "/preview?delete=cinj/mesh", "").json();
    assert_eq!(without(deleted, &own), world.command_output(&["preview", "--delete", "cinj/mesh"]));
    let ended = yaml(&world, "/preview?delete=suspensionpolicy/shop/debug", "").json();
    assert_eq!(ended["changes"][0]["change"], "Deleted");

    assert_eq!((world.get("/overview"), answered()), before, "nothing of it is applied");
}

#[test]
fn audit_mode_and_what_begins_later_are_previewed_as_if() {
    let world = ApiWorld::start();
    let audit = policy("out", &json!({"action": "Disable", "priority": 9, "mode": "Audit"}));
    let nothing = previewed(&world, "/preview", &audit);
    assert_eq!(nothing["summary"]["changed"], 0);
    assert!(nothing["notes"][0].as_str().unwrap().contains("; asEnforced=true shows what"), "{nothing}");
    assert_eq!(previewed(&world, "/preview?asEnforced=true", &audit)["summary"]["changed"], 3);
    let later = json!({
        "apiVersion": "outrigger.dev/v1alpha1", "kind": "SuspensionPolicy", "metadata": {"name": "night"},
        "spec": {"suspend": "Injection", "startsAt": "2099-01-01T00:00:00Z", "for": "1h", "reason": "x"},
    });
    let nothing = previewed(&world, "/namespaces/shop/preview", &later);
    let note = nothing["notes"][0].as_str().unwrap();
    assert!(note.contains("; at=2099-01-01T00:00:00Z shows what"), "{nothing}");
    let then = previewed(&world, "/namespaces/shop/preview?at=2099-01-01T00:00:00Z", &later);
    assert_eq!((&nothing["summary"]["changed"], &then["summary"]["changed"]), (&json!(0), &json!(3)), "{then}");
}

#[test]
fn no_more_is_told_than_is_asked_for_and_all_is_counted() {
    let world = ApiWorld::start();
    let told = |limit: usize| {
        let answer = yaml(&world, &format!("/preview?limit={limit}"), OUT).json();
        let count = |of: &Value| of["workloads"].as_array().unwrap().len();
        let told: usize = answer["namespaces"].as_array().unwrap().iter().map(count).sum();
        (told, answer["omitted"].as_u64().unwrap(), answer["summary"]["changed"].as_u64().unwrap())
    };
    assert_eq!([told(0), told(2), told(3), told(100)], [(0, 3, 3), (2, 1, 3), (3, 0, 3), (3, 0, 3)]);
}

#[test]
fn what_is_no_proposal_is_refused_with_what_would_be() {
    let world = ApiWorld::start();
    let own = "{apiVersion: outrigger.dev/v1alpha1, kind: InjectionPolicy, metadata: {name: a, namespace: nowhere}, spec: {action: Enable}}";
    let bomb: String = (1..12).fold("a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, level| {
        let before = format!("*a{},", level - 1).repeat(9);
        format!("{text}a{level}: &a{level} [{}]\n", before.trim_end_matches(','))
    });
    let deep = "[".repeat(30_000);
    for (path, body, status, part) in [
        ("/preview", "", 422, "nothing is proposed: send policies or suspensions, or name in delete"),
        ("/preview", "kind: Deployment\nmetadata: {name: web}", 422, "Deployment web is no policy and no suspension"),
        ("/preview", "just a text", 422, "an object has no kind; a preview takes ClusterInjectionPolicy,"),
        ("/preview", "a: [", 400, "the body cannot be read"),
        ("/preview", &bomb, 400, "the body cannot be read"),
        ("/preview", &deep, 400, "the body cannot be read"),
        ("/preview", &OUT.replace("action", "acton"), 422, "spec.acton: unknown field; did you mean action?"),
        ("/preview", &OUT.replace("{name: out}", "{}"), 422, "metadata.name is missing"),
        ("/preview", &OUT.replace("v1alpha1", "v2"), 422, ": use outrigger.dev/v1alpha1"),
        ("/preview", &format!("{OUT}\n---\n{OUT}"), 422, "ClusterInjectionPolicy out is given twice"),
        ("/preview", OF_SHOP, 422, "InjectionPolicy out has no metadata.namespace"),
        ("/preview", own, 422, "there is no namespace nowhere"),
        ("/preview?delete=cinj/mush", "", 422, "there is no ClusterInjectionPolicy mush; did you mean mesh?"),
        ("/preview?delete=gadget/mesh", "", 422, "\"gadget\" is no kind of policy or suspension"),
        ("/preview?delete=mesh", "", 422, "delete: mesh is neither KIND/NAME nor KIND/NAMESPACE/NAME"),
        ("/preview?delete=susp/debug", "", 422, "SuspensionPolicy debug needs a namespace: name it"),
        ("/preview?colour=red", OUT, 400, "unknown field"),
        ("/preview?at=soon", OUT, 400, "at"),
        ("/preview?limit=10001", OUT, 400, "limit is 10001: give at most 10000"),
        ("/preview", &OUT.replace("name: out", "name: o/ut"), 422, "has a bad name: use a-z"),
        (
            "/namespaces/shop/preview",
            OUT,
            422,
            "ClusterInjectionPolicy out is not of namespace shop: send it to POST /api/v1/preview",
        ),
        ("/namespaces/shop/preview", own, 422, "InjectionPolicy nowhere/a is not of namespace shop"),
        ("/namespaces/nowhere/preview", OF_SHOP, 404, "there is no namespace nowhere"),
    ] {
        let answer = yaml(&world, path, body);
        assert_eq!(answer.status, status, "{path} {}: {answer:?}", &body[..body.len().min(200)]);
        assert!(answer.json()["detail"].as_str().unwrap().contains(part), "{path}: {answer:?}");
    }
    let of = |of: &str, text: &str| send_text(&world.served, "POST", "/api/v1/preview", (of, text));
    assert_eq!(of("text/plain", OUT).status, 415);
    assert_eq!(of("application/json", OUT).status, 400, "YAML is no JSON");
    assert_eq!(of("application/json", "[]").status, 422);
    assert_eq!(of("application/yaml; charset=utf-8", OUT).status, 200);
    assert_eq!(of("application/yaml", &format!("#{}", "x".repeat(65_536))).status, 413);
}
