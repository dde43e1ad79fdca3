//! What the commands make of the cases that other tests are about: a file of cases, a snapshot.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{NOW, check, root, told};
use crate::{decisions, drift};

#[tokio::test]
async fn what_is_told_of_every_case_is_as_pinned() {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut add = |file: String, name: &str, text: String| {
        *found.entry(file).or_default() += &format!("## {name}\n{text}\n");
    };
    for [file, name, line] in decisions::lines().await {
        add(format!("decisions/{}.audit.txt", file.trim_end_matches(".yaml")), &name, line);
    }
    let drifts = ["status", "status -o json", "status --problems", "preview --adopt"].map(str::to_owned);
    std::thread::scope(|scope| {
        let of_folder = |folder: &'static str| {
            move || {
                let told = |(file, case, objects): (String, Value, Vec<Value>)| {
                    let name = case["name"].as_str().unwrap().to_owned();
                    (format!("{folder}/{file}.txt"), name, of_case(folder, &case, &objects))
                };
                cases(folder).into_iter().map(told).collect::<Vec<_>>()
            }
        };
        let of_drift = || {
            let told = |(name, objects): (String, Vec<Value>)| {
                ("drift/1-drift.txt".to_owned(), name, runs(&drifts, "", &json!({}), &objects))
            };
            drift::worlds().into_iter().map(told).collect()
        };
        let mut running: Vec<_> =
            ["decisions", "statuses", "traffic"].map(of_folder).map(|work| scope.spawn(work)).into();
        running.push(scope.spawn(of_drift));
        running.into_iter().flat_map(|one| one.join().unwrap()).for_each(|(file, name, text)| add(file, &name, text));
    });
    check("cases", &found);
}

/// Every case of a folder of `tests/cases`: its file, itself, and its objects.
fn cases(folder: &str) -> Vec<(String, Value, Vec<Value>)> {
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(root().join("tests/cases").join(folder)).unwrap().map(Result::unwrap) {
        let file: Value = serde_saphyr::from_str(&std::fs::read_to_string(entry.path()).unwrap()).unwrap();
        let name = entry.file_name().to_str().unwrap().trim_end_matches(".yaml").to_owned();
        for case in file["cases"].as_array().unwrap() {
            let mut case = case.clone();
            case["namespace"] = case["pod"]["metadata"].get("namespace").unwrap_or(&file["namespace"]).clone();
            let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
            let injectors = case["injectors"].as_str().map(decisions::injectors).unwrap_or_default();
            let objects = [list(&file["state"]), list(&case["state"]), injectors].concat();
            cases.push((name.clone(), case, objects));
        }
    }
    cases
}

fn of_case(folder: &str, case: &Value, objects: &[Value]) -> String {
    let namespace = case["namespace"].as_str().unwrap_or("shop");
    match folder {
        "decisions" => {
            let mut pod = case["pod"].clone();
            if pod.is_object() {
                for (key, value) in [("apiVersion", "v1"), ("kind", "Pod")] {
                    pod[key] = json!(value);
                }
                if pod["spec"].is_null() {
                    pod["spec"] = json!({"containers": [{"name": "web", "image": "nginx"}]});
                }
            }
            let explain = format!("explain -f - -n {namespace}");
            runs(&[explain.clone(), explain + " -o json"], &pod.to_string(), case, objects)
        }
        "statuses" => {
            let all = ["suspend --list", "suspend --list -o json", "status -o json", "doctor -o json"];
            runs(&all.map(str::to_owned), "", case, objects)
        }
        _ => {
            let place = match &case["cluster"]["namespaces"]["include"] {
                Value::Array(patterns) => {
                    patterns.iter().map(|one| format!(" --namespaces {}", one.as_str().unwrap())).collect::<String>()
                        + " --cluster"
                }
                _ => format!(" -n {namespace}"),
            };
            let suspend = |service: &Value| {
                let listed = |value: &Value| {
                    value
                        .as_array()
                        .map(|all| all.iter().map(|one| one.as_str().unwrap()).collect::<Vec<_>>().join(","))
                };
                let versions = listed(&service["versions"]).map(|versions| format!(" --versions {versions}"));
                let name = service["name"].as_str().unwrap();
                format!(
                    "suspend traffic {name}{}{place} --for 1h --reason x --name pause --dry-run -o json",
                    versions.unwrap_or_default()
                )
            };
            let all: Vec<String> = case["services"].as_array().unwrap().iter().map(suspend).collect();
            runs(&all, "", case, objects)
        }
    }
}

/// What comes of commands over these objects.
fn runs(commands: &[String], input: &str, case: &Value, objects: &[Value]) -> String {
    let state = tempfile::tempdir().unwrap();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    std::fs::write(state.path().join("objects.json"), list.to_string()).unwrap();
    let flags: Vec<&str> = case["flags"].as_array().into_iter().flatten().map(|flag| flag.as_str().unwrap()).collect();
    let of = |command: &String| {
        let given = [state.path().to_str().unwrap(), "--now", case["now"].as_str().unwrap_or(NOW)];
        let words = command.split(' ').chain(flags.iter().copied()).chain(["--state"]).chain(given);
        let words: Vec<String> = words.map(str::to_owned).collect();
        super::without_ids(&told(&words, input.as_bytes(), &[(state.path(), "STATE")]), &list.to_string())
    };
    commands.iter().map(of).collect()
}
