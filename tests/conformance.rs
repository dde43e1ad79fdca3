//! Conformance of the API to its own document: schemathesis sends requests that it allows and forbids, and finds no mistake.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::serve::EmbeddedServer;

const STATE: &str = r"
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop, uid: u1}, spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}}}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {selector: {app: web}, ports: [{name: http, port: 80}]}}
";

/// Options of a run of schemathesis.
pub(crate) struct ConformanceRun<'a> {
    /// Base URL of the API.
    pub(crate) url: &'a str,
    /// CA file of the server; none in a cluster, where tests reach the server by address.
    pub(crate) authority: Option<&'a Path>,
    pub(crate) token: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) examples: u32,
}

/// Runs schemathesis, and fails with its output unless it found no mistake and tried every operation.
pub(crate) fn assert_conforms(run: &ConformanceRun<'_>, document: &Value) {
    let ConformanceRun { url, authority, token, namespace, examples } = run;
    let directory = tempfile::tempdir().unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/schemathesis.toml");
    let settings = std::fs::read_to_string(here).unwrap().replace("\"shop\"", &format!("\"{namespace}\""));
    let config = directory.path().join("schemathesis.toml");
    std::fs::write(&config, settings).unwrap();
    let program = installed();
    let output = Command::new(&program)
        .arg("--config-file")
        .arg(config)
        .args(["run", &format!("{url}/openapi.json"), "--no-color", "--seed=1", "--generation-database=none"])
        .arg(format!("--max-examples={examples}"))
        .arg("--tls-verify")
        .arg(authority.unwrap_or(Path::new("false")))
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .current_dir(directory.path())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; run tests/conformance/build", program.display()));
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}{}", String::from_utf8_lossy(&output.stderr));
    let operations: usize =
        document["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len()).sum();
    assert!(report.contains(&format!("Tested: {operations}")), "{operations} operations are served: {report}");
}

/// Checks that no required field may be null. Schemathesis does not see this, since it always sends required fields.
fn requires_only_what_is_needed(document: &Value) {
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        let may_be_null = |field: &Value| schema["properties"][field.as_str().unwrap()]["type"][1] == "null";
        let mut required = schema["required"].as_array().into_iter().flatten();
        assert!(!required.any(may_be_null), "{name}: {schema}");
    }
}

fn installed() -> PathBuf {
    let of_tests = std::env::current_exe().unwrap();
    let target = of_tests.ancestors().find(|path| path.join("conformance").is_dir());
    let target = target.expect("schemathesis is not installed: run tests/conformance/build");
    target.join("conformance/bin/st")
}

#[test]
fn the_api_is_what_its_document_says() {
    let state = tempfile::tempdir().unwrap();
    std::fs::write(state.path().join("state.yaml"), STATE).unwrap();
    let served = EmbeddedServer::start(Some(state.path()), 1);
    let authority = served.file("ca.crt");
    let url = format!("https://{}", served.api);
    let arguments = ["--cacert", authority.to_str().unwrap(), &format!("{url}/openapi.json")];
    let (status, answer) = served.curl(&arguments).unwrap();
    assert_eq!(status, 200);
    let document: Value = serde_json::from_str(answer.split_once('\n').unwrap().1).unwrap();
    requires_only_what_is_needed(&document);
    let token = std::fs::read_to_string(served.file("token")).unwrap();
    let run =
        ConformanceRun { url: &url, authority: Some(&authority), token: token.trim(), namespace: "shop", examples: 50 };
    assert_conforms(&run, &document);
    let made = served.audit_entries(|entry| entry["act"] == "Create" && entry["outcome"] == "Allowed");
    assert!(made.len() > 3, "hardly anything was accepted, so little was tried: {made:?}");
}
