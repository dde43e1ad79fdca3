//! What people see, pinned: every text is compared with a file of `pinned/`, to the letter.
//!
//! `UPDATE_SNAPSHOTS=1 cargo test --test all snapshots` accepts what there is.

mod api;
mod audit;
mod cases;
mod commands;
mod texts;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Parser;
use outrigger::cli::decision_args::DecisionArgs;
use outrigger::kubernetes::intake::files;
use outrigger::kubernetes::inventory::Inventory;
use outrigger::kubernetes::inventory::rules::RuleLimits;

use crate::commands::CommandOutput;

/// Each is pinned by one test.
const FOLDERS: [&str; 6] = ["api", "audit", "cases", "commands", "help", "install"];
const NOW: &str = "2026-11-22T12:00:00Z";
/// So many lines of a difference are told, and so many files.
const TOLD: usize = 4;
const FILES_TOLD: usize = 8;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    deciding: DecisionArgs,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn pinned_at(folder: &str) -> PathBuf {
    root().join("tests/snapshots/pinned").join(folder)
}

/// Compares texts, by the names of their files, with those of a folder; neither side may have one that the other lacks.
#[track_caller]
fn check(folder: &str, found: &BTreeMap<String, String>) {
    assert!(FOLDERS.contains(&folder), "{folder} is none of FOLDERS");
    let directory = pinned_at(folder);
    let mut pinned = BTreeMap::new();
    read(&directory, "", &mut pinned);
    if std::env::var("UPDATE_SNAPSHOTS").is_ok_and(|value| value == "1") {
        for name in pinned.keys().filter(|name| !found.contains_key(*name)) {
            std::fs::remove_file(directory.join(name)).unwrap();
        }
        for (name, text) in found.iter().filter(|(name, text)| pinned.get(*name) != Some(text)) {
            let path = directory.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        return;
    }
    let missing = found.keys().filter(|name| !pinned.contains_key(*name));
    let missing = missing.map(|name| format!("{name}: there is no such file\n"));
    let orphaned = pinned.keys().filter(|name| !found.contains_key(*name));
    let orphaned = orphaned.map(|name| format!("{name}: nothing makes this any more\n"));
    let both = found.iter().filter_map(|(name, text)| Some((name, pinned.get(name)?, text)));
    let differing = both.filter(|(_, pinned, found)| pinned != found);
    let differing = differing.map(|(name, pinned, found)| format!("{name}{}", difference(pinned, found)));
    let all: Vec<String> = differing.chain(missing).chain(orphaned).collect();
    let more = all.len().saturating_sub(FILES_TOLD);
    let more = if more > 0 { format!("and {more} files more\n") } else { String::new() };
    assert!(
        all.is_empty(),
        "{} files of tests/snapshots/pinned/{folder} are not what people see:\n\n{}{more}\n\
         To accept it, run: UPDATE_SNAPSHOTS=1 cargo test --test all snapshots",
        all.len(),
        all[..all.len().min(FILES_TOLD)].concat()
    );
}

/// The files of a directory and of those in it, by their paths from there.
fn read(directory: &Path, prefix: &str, files: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().map(Result::unwrap) {
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        match entry.file_type().unwrap().is_dir() {
            true => read(&entry.path(), &format!("{name}/"), files),
            false => drop(files.insert(name, std::fs::read_to_string(entry.path()).unwrap())),
        }
    }
}

/// Where two texts begin to differ.
fn difference(pinned: &str, found: &str) -> String {
    let lines = |text: &str| text.split('\n').map(str::to_owned).collect::<Vec<_>>();
    let (pinned, found) = (lines(pinned), lines(found));
    let first = pinned.iter().zip(&found).take_while(|(one, other)| one == other).count();
    let mut told = format!(", line {}:\n", first + 1);
    for (sign, lines) in [('-', &pinned), ('+', &found)] {
        lines[first..].iter().take(TOLD).for_each(|line| writeln!(told, "  {sign} {line}").unwrap());
    }
    told
}

/// Runs the binary, alike on every machine.
fn run(arguments: &[String], input: &[u8]) -> CommandOutput {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    command.args(arguments).current_dir(root()).env_clear();
    command.envs([("COLUMNS", "100"), ("KUBECONFIG", "/dev/null"), ("TZ", "UTC")]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    // A command that does not read is none that fails.
    let _unread = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
    CommandOutput { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// A command and all that came of it; `hidden` names what is another path each time.
fn told(arguments: &[String], input: &[u8], hidden: &[(&Path, &str)]) -> String {
    let CommandOutput { code, out, err } = run(arguments, input);
    let quoted = |word: &String| if word.is_empty() || word.contains(' ') { format!("'{word}'") } else { word.clone() };
    let typed: Vec<String> = arguments.iter().map(quoted).collect();
    let text = format!("$ outrigger {}\nexit code {code}\n--- stdout\n{out}--- stderr\n{err}", typed.join(" "));
    hidden.iter().fold(text, |text, (path, name)| text.replace(path.to_str().unwrap(), name))
}

/// What is known where these objects are.
fn knowing(objects: &str) -> Inventory {
    let Flags { deciding } = Flags::parse_from(["outrigger", "--own-namespace", "outrigger-system"]);
    let inventory = deciding.new_inventory();
    let problems = files::replace_all(&inventory, &RuleLimits::default(), &files::parse_objects(objects).unwrap());
    assert_eq!(problems, Vec::<String>::new());
    inventory
}

/// The text with each random id that is not in `known` as a number, the same one wherever it stands.
fn without_ids(text: &str, known: &str) -> String {
    let (mut numbers, mut told, mut rest) = (HashMap::new(), String::new(), text);
    let is_of_id = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    while let Some(character) = rest.chars().next() {
        let id = rest.get(..36).filter(|word| word.bytes().enumerate().all(is_of_id) && !known.contains(word));
        match id {
            Some(id) => {
                let next = numbers.len() + 1;
                write!(told, "<id {}>", numbers.entry(id).or_insert(next)).unwrap();
            }
            None => told.push(character),
        }
        rest = &rest[id.map_or(character.len_utf8(), str::len)..];
    }
    told
}

#[test]
fn no_snapshot_is_where_nothing_looks_for_it() {
    let mut files = BTreeMap::new();
    read(&pinned_at(""), "", &mut files);
    let is_looked_for = |name: &str| FOLDERS.iter().any(|folder| name.starts_with(&format!("{folder}/")));
    let stray: Vec<_> = files.keys().filter(|name| !is_looked_for(name)).collect();
    assert!(stray.is_empty(), "{stray:?} in tests/snapshots/pinned belong to no test");
}
