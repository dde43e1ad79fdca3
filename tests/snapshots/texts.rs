//! What is printed without looking at anything: help, and the manifests of an installation.

use std::collections::BTreeMap;

use clap::CommandFactory;
use outrigger::cli::Cli;

use super::{check, told};

#[test]
fn every_help_text_is_as_pinned() {
    let mut found = BTreeMap::new();
    add(&Cli::command(), &[], &mut found);
    check("help", &found);
}

/// The long and the short help of a command and of those in it.
fn add(command: &clap::Command, path: &[String], found: &mut BTreeMap<String, String>) {
    let name = if path.is_empty() { "outrigger".to_owned() } else { path.join("-") };
    let of = |flag: &str| told(&[path, &[flag.to_owned()]].concat(), b"", &[]);
    found.insert(format!("{name}.txt"), format!("{}\n{}", of("--help"), of("-h")));
    for inner in command.get_subcommands() {
        add(inner, &[path, &[inner.get_name().to_owned()]].concat(), found);
    }
}

#[test]
fn what_install_prints_is_as_pinned() {
    let of = |(name, flags): (&str, &str)| {
        let words: Vec<String> = ["install"].into_iter().chain(flags.split_whitespace()).map(str::to_owned).collect();
        (format!("{name}.yaml.txt"), told(&words, b"", &[]))
    };
    let all = [
        ("default", ""),
        ("strict", "--failure-policy Fail --replicas 3 --exclude-namespace legacy --own-namespace mesh"),
        ("repairing", "--repair-drift --repair-per-minute 3 --drift-interval 1m --image registry.example/outrigger:2"),
        ("kuma", "--mesh kuma --when-unknown disable --write needed --no-drift"),
        ("linkerd", "--mesh linkerd --longest-suspension 36h --cluster-domain example.test"),
        (
            "revisions",
            "--injector-revision canary --injector-revision stable --owner-kind apps.kruise.io/v1alpha1/clonesets/CloneSet --trusted-requester system:serviceaccount:kruise:manager",
        ),
        ("refused", "--replicas none"),
    ];
    check("install", &all.into_iter().map(of).collect());
}
