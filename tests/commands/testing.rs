//! `outrigger test`: tests of policies by cases in files.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::{CommandOutput, outrigger};

fn test(path: &Path, more: &[&str]) -> CommandOutput {
    outrigger(&[&["test", &path.display().to_string()], more].concat(), None, "")
}

/// Makes a directory with one case file.
fn cases(text: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.yaml"), text).unwrap();
    directory
}

fn tests() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests")
}

const STATE: &str = r#"
state:
- {apiVersion: v1, kind: Namespace, metadata: {name: default}}
- {apiVersion: outrigger.dev/v1alpha1, kind: ClusterInjectionPolicy, metadata: {name: mesh}, spec: {action: Enable}}
cases:
"#;

#[test]
fn the_example_passes() {
    let output = test(&tests().join("policies"), &[]);
    assert_eq!((output.code, output.out.as_str(), output.err.as_str()), (0, "6 passed, 0 failed\n", ""));
}

#[test]
fn our_own_decision_cases_pass_also_by_the_command() {
    let output = test(&tests().join("cases/decisions"), &["-o", "json"]);
    assert_eq!(output.code, 0, "{}{}", output.out, output.err);
    assert!(output.json()["passed"].as_u64().unwrap() >= 60);
}

#[test]
fn what_is_not_as_expected_is_told_field_by_field_with_the_reason() {
    let cases = cases(&format!(
        "{STATE}
- name: it says <no> & \"why\"
  pod: {{metadata: {{name: a}}}}
  expect: {{action: Disable, effectReason: unheard of, labels: {{sidecar.istio.io/inject: null}}}}
- {{name: it agrees, pod: {{metadata: {{name: a}}}}, expect: {{rule: Policy mesh}}}}
"
    ));
    let junit = cases.path().join("results.xml");
    let output = test(cases.path(), &["--junit", &junit.display().to_string()]);
    assert_eq!(output.code, 1, "{}", output.err);
    let expected = r#"FAILED  a.yaml: it says <no> & "why"
        action                          expected  Disable
                                        found     Enable
        effectReason                    expected  something with "unheard of"
                                        found     no webhook configuration calls an injector of istio
        labels.sidecar.istio.io/inject  expected  none
                                        found     true
        because                         Enable by Policy mesh: ClusterInjectionPolicy mesh asks for Enable; Unknown: no webhook configuration calls an injector of istio

1 passed, 1 failed
"#;
    assert_eq!(output.out, expected);
    let xml = std::fs::read_to_string(junit).unwrap();
    assert!(xml.contains(r#"<testsuite name="a.yaml" tests="2" failures="1" errors="0">"#), "{xml}");
    assert!(xml.contains(r#"name="it says &lt;no&gt; &amp; &quot;why&quot;""#), "{xml}");
    assert!(
        xml.contains("<failure message=\"not as expected: action, effectReason, labels.sidecar.istio.io/inject\">"),
        "{xml}"
    );
    assert!(xml.contains(r#"<testcase classname="a.yaml" name="it agrees"/>"#), "{xml}");
}

#[test]
fn cases_are_picked_by_a_text_and_none_is_an_error() {
    let path = tests().join("policies");
    let output = test(&path, &["--filter", "upgrade", "-o", "json"]);
    assert_eq!((output.code, &output.json()["passed"]), (0, &json!(2)), "{}", output.err);
    assert!(test(&path, &["--filter", "no such case"]).refusal().contains("has \"no such case\" in its name"));
}

#[test]
fn what_cannot_fail_is_no_test() {
    let empty = tempfile::tempdir().unwrap();
    assert!(test(empty.path(), &[]).refusal().contains("has no cases: give a directory"));
    let why = |text: &str| {
        let output = test(cases(text).path(), &[]);
        assert_eq!(output.code, 2, "{}", output.out);
        output.out
    };
    assert!(why("cases: []").contains("the file has no cases"));
    assert!(why("{apiVersion: v1, kind: Namespace}").contains("keep manifests in a directory of their own"));
    assert!(why("cases: [{name: a, subject: deployment/web, expect: {}}]").contains("the case expects nothing"));
    assert!(why("cases: [{name: a, expect: {action: Leave}}]").contains("the case needs either a pod or a subject"));
    assert!(why("cases: [{subject: pod/a, expect: {action: Leave}}]").contains("the case has no name"));
}

#[test]
fn what_is_not_understood_is_named_with_the_nearest() {
    let why = |text: &str| {
        let output = test(cases(text).path(), &[]);
        assert_eq!(output.code, 2, "{}", output.out);
        output.out
    };
    assert!(why("{cases: [{}], stat: []}").contains("stat: unknown field; did you mean state?"));
    let case = |more: &str| format!("{STATE}- {{name: a, pod: {{metadata: {{name: a}}}}, {more}}}");
    assert!(
        why(&case("expect: {efect: Injected}")).contains("\"a\": expect.efect: unknown field; did you mean effect?")
    );
    assert!(
        why(&case("expect: {action: Leave}, settings: {mehs: istio}"))
            .contains("settings.mehs: unknown setting; did you mean mesh?")
    );
    assert!(why(&case("expect: {action: Leave}, settings: {mesh: istoi}")).contains("invalid value 'istoi'"));
    assert!(why(&case("expect: {action: Leave}, state: [nowhere]")).contains("cannot read"));
    assert!(why(&case("expect: {action: Leave}, notSynced: [pod]")).contains("there is no \"pod\""));
    let broken = "{apiVersion: outrigger.dev/v1alpha1, kind: ClusterInjectionPolicy, metadata: {name: b}, spec: {action: Maybe}}";
    assert!(
        why(&case(&format!("expect: {{action: Leave}}, state: [{broken}]")))
            .contains("in the state: skipped ClusterInjectionPolicy")
    );
    assert!(
        why(&format!("{STATE}- {{name: a, subject: deployment/web, expect: {{action: Leave}}}}"))
            .contains("there is no deployment/web")
    );
    assert!(why("a: [").contains("the file is not valid YAML"));
}

#[test]
fn settings_of_a_file_hold_for_its_cases_and_a_case_can_say_otherwise() {
    let cases = cases(
        r#"
settings: {mesh: linkerd, exclude-namespace: [quiet, loud]}
state:
- {apiVersion: v1, kind: Namespace, metadata: {name: default}}
- {apiVersion: v1, kind: Namespace, metadata: {name: loud}}
- {apiVersion: outrigger.dev/v1alpha1, kind: ClusterInjectionPolicy, metadata: {name: mesh}, spec: {action: Enable}}
cases:
- {name: a, pod: {metadata: {name: a}}, expect: {annotations: {linkerd.io/inject: enabled}}}
- {name: b, pod: {metadata: {name: a}}, settings: {mesh: kuma}, expect: {labels: {kuma.io/sidecar-injection: enabled}}}
- {name: c, pod: {metadata: {name: a}}, namespace: loud, expect: {rule: Safety ExcludedNamespace}}
"#,
    );
    let output = test(cases.path(), &[]);
    assert_eq!((output.code, output.out.as_str()), (0, "3 passed, 0 failed\n"), "{}", output.err);
}
