//! The commands of `commands.txt`, each over the state that its section names, for people and for programs.

use std::collections::BTreeMap;
use std::path::Path;

use clap::CommandFactory;
use outrigger::cli::Cli;
use outrigger::kubernetes::intake::files;
use serde_json::Value;

use super::{NOW, check, root, told, without_ids};
use crate::commands::{StateDirectory, explain, overrides, preview, states, status, suspend};

#[test]
fn every_command_says_and_prints_what_is_pinned() {
    let script = include_str!("commands.txt");
    let sections: Vec<&str> = script.split("\n[").skip(1).collect();
    let of = |section: &str| {
        let (name, lines) = section.split_once("]\n").unwrap();
        let lines = lines.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        section_told(name, lines)
    };
    let found = std::thread::scope(|scope| {
        let of = &of;
        let running: Vec<_> = sections.iter().map(|section| scope.spawn(move || of(section))).collect();
        running.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });
    check("commands", &found);
}

/// What the lines of a section come to, one after the other in one directory.
fn section_told<'l>(section: &str, lines: impl Iterator<Item = &'l str>) -> BTreeMap<String, String> {
    let state = state(section);
    let objects = files::read_objects(state.0.path()).unwrap();
    let known = serde_json::to_string(&objects).unwrap();
    let mut found = BTreeMap::new();
    for line in lines.flat_map(|line| each(line, &objects)) {
        let (typed, from) = line.split_once(" < ").unwrap_or((&line, "/dev/null"));
        let input = std::fs::read(root().join(from)).unwrap();
        for words in ways(words(typed)) {
            let of_input = Path::new(from).file_stem().filter(|stem| *stem != "null").into_iter();
            let named: Vec<&str> =
                words.iter().map(String::as_str).chain(of_input.filter_map(|stem| stem.to_str())).collect();
            let parts =
                named.join("-").replace("--", "-").replace(|c: char| !c.is_ascii_alphanumeric() && c != '.', "-");
            let name = parts.trim_matches('-').to_owned();
            let arguments = with_state(&words, state.0.path());
            let text = without_ids(&told(&arguments, &input, &[(state.0.path(), "STATE")]), &known);
            let is_first = found.insert(format!("{section}/{name}.txt"), text).is_none();
            assert!(is_first, "two lines of [{section}] are called {name}");
        }
    }
    found
}

/// The objects that a section is about.
fn state(section: &str) -> StateDirectory {
    let text = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let own = |objects: &str| {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("objects.yaml"), objects).unwrap();
        StateDirectory(directory)
    };
    match section {
        "sample" => own(files::SAMPLE),
        "nothing" => own(""),
        "explain" => StateDirectory::of(explain::OBJECTS),
        "overriding" => StateDirectory::of(overrides::OBJECTS),
        "preview" => StateDirectory::of(preview::OBJECTS),
        "states" => states::state(),
        "status" => StateDirectory::of(status::OBJECTS),
        "suspend" | "acting" => StateDirectory::of(suspend::OBJECTS),
        "reviews" => {
            own(&[text("tests/reviews/state.yaml"), text("tests/snapshots/inputs/policies.yaml")].join("\n---\n"))
        }
        "policies" => StateDirectory::of(&text("tests/policies/cluster/shop.yaml")),
        of => own(&[
            files::SAMPLE.split("---\n# The injector").next().unwrap(),
            &text(&format!("tests/cases/injectors/{of}.yaml")),
        ]
        .join("\n---\n")),
    }
}

/// The line, or one for each workload and pod of the state where it says EACH.
fn each(line: &str, objects: &[Value]) -> Vec<String> {
    if !line.contains("EACH") {
        return vec![line.to_owned()];
    }
    let makes_pods = |one: &&Value| {
        one["kind"] == "Pod" || one["spec"]["template"].is_object() || one["spec"]["jobTemplate"].is_object()
    };
    let named = |one: &Value| {
        let of = |value: &Value| value.as_str().unwrap_or("default").to_owned();
        let metadata = &one["metadata"];
        format!("{}/{} -n {}", of(&one["kind"]).to_lowercase(), of(&metadata["name"]), of(&metadata["namespace"]))
    };
    let is_meant = |one: &&Value| makes_pods(one) && !(line.starts_with("status") && one["kind"] == "Pod");
    objects.iter().filter(is_meant).map(|one| line.replace("EACH", &named(one))).collect()
}

/// As a shell would split it, with single quotes alone.
fn words(line: &str) -> Vec<String> {
    let parts = line.split('\'').enumerate();
    let split = |(index, part): (usize, &str)| match index % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    };
    parts.flat_map(split).collect()
}

/// For people and for programs; what changes something happens once.
fn ways(words: Vec<String>) -> Vec<Vec<String>> {
    let json = [&words[..], &["-o".to_owned(), "json".to_owned()]].concat();
    let takes_output = takes(&words, |argument| argument.get_short() == Some('o'));
    let once = !takes_output || words.iter().any(|word| ["--yes", "-o"].contains(&&**word));
    if once { vec![words] } else { vec![words, json] }
}

fn with_state(words: &[String], state: &Path) -> Vec<String> {
    let mut arguments = words.to_vec();
    let is_said = |flag: &str| words.iter().any(|word| word == flag);
    if takes(words, |argument| argument.get_id() == "state") && !is_said("--state") {
        arguments.extend(["--state".to_owned(), state.to_str().unwrap().to_owned()]);
        let now = ["--now".to_owned(), NOW.to_owned()];
        arguments.extend(now.into_iter().filter(|_| !is_said("--now")));
    }
    arguments
}

/// Whether the command has an argument like this.
fn takes(words: &[String], is_meant: impl Fn(&clap::Arg) -> bool) -> bool {
    let mut command = &Cli::command();
    for word in words {
        command = match command.find_subcommand(word) {
            Some(inner) => inner,
            None => break,
        };
    }
    command.get_arguments().any(is_meant)
}
