//! `outrigger test`: policies under test, by cases in files. No cluster, no server, and the same answer every day.

mod case;
mod expectation;
mod junit;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Args;
use serde::Serialize;

use super::looking::Output;
use crate::kernel::text::sanitized;
use case::{Case, CaseFile};
use expectation::Difference;

/// What to test.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// A directory of case files in YAML, or one such file
    #[arg(value_name = "DIR")]
    path: PathBuf,
    /// Only cases that have this text in their file's or their own name
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Also write the results as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// What came of all cases.
#[derive(Debug, Default, Serialize)]
struct Report {
    passed: usize,
    failed: usize,
    /// Files that cannot be read, and cases that cannot be decided.
    errors: usize,
    results: Vec<Tested>,
}

/// What came of one case; of a file that cannot be read there is one without a name.
#[derive(Debug, Serialize)]
struct Tested {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(tag = "outcome")]
enum Outcome {
    /// All is as expected.
    Passed,
    /// Something is not, and why what was found is so.
    Failed { differences: Vec<Difference>, because: String },
    /// Nothing was found out.
    Error { why: String },
}

/// Runs the command.
pub fn run(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let TestArgs { path, filter, junit, output } = args;
    let report = Report::of(&files_at(path)?, filter.as_deref());
    ensure!(!report.results.is_empty(), "{}", nothing_to_do(path, filter.as_deref()));
    if let Some(junit) = junit {
        let xml = junit::document(&report);
        std::fs::write(junit, xml).with_context(|| format!("cannot write {}", junit.display()))?;
    }
    output.print(&report, table)?;
    Ok(match report {
        Report { errors: 1.., .. } => ExitCode::from(2),
        Report { failed: 1.., .. } => ExitCode::from(1),
        Report { .. } => ExitCode::SUCCESS,
    })
}

fn nothing_to_do(path: &Path, filter: Option<&str>) -> String {
    match filter {
        Some(text) => format!("no case of {} has {text:?} in its name", path.display()),
        None => format!("there are no cases in {}: what nothing can fail tests nothing", path.display()),
    }
}

fn files_at(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let cannot = || format!("cannot read {}", path.display());
    let entries = std::fs::read_dir(path).with_context(cannot)?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>().with_context(cannot)?;
    files.retain(|file| file.extension().is_some_and(|end| end == "yaml" || end == "yml"));
    files.sort();
    Ok(files)
}

impl Report {
    fn of(files: &[PathBuf], filter: Option<&str>) -> Self {
        let mut report = Self::default();
        for path in files {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let cases = match CaseFile::read(path) {
                Ok(cases) => cases,
                Err(error) => {
                    let outcome = Outcome::Error { why: format!("{error:#}") };
                    report.add(Tested { file, name: None, outcome });
                    continue;
                }
            };
            for case in cases {
                let is_wanted = |text: &str| format!("{file}: {}", case.name).contains(text);
                if filter.is_none_or(is_wanted) {
                    report.add(Tested {
                        file: file.clone(),
                        name: Some(sanitized(&case.name)),
                        outcome: tested(&case),
                    });
                }
            }
        }
        report
    }

    fn add(&mut self, tested: Tested) {
        let count = match tested.outcome {
            Outcome::Passed => &mut self.passed,
            Outcome::Failed { .. } => &mut self.failed,
            Outcome::Error { .. } => &mut self.errors,
        };
        *count += 1;
        self.results.push(tested);
    }
}

fn tested(case: &Case) -> Outcome {
    let found = match case.found() {
        Ok(found) => found,
        Err(error) => return Outcome::Error { why: format!("{error:#}") },
    };
    let differences = case.expect.differences(&found);
    if differences.is_empty() {
        return Outcome::Passed;
    }
    Outcome::Failed { differences, because: found.because() }
}

/// The results for people: what is not as expected, and how much is.
fn table(report: &Report) -> String {
    let Report { passed, failed, errors, results } = report;
    let mut text = String::new();
    for Tested { file, name, outcome } in results {
        let title = name.as_ref().map_or_else(|| file.clone(), |name| format!("{file}: {name}"));
        match outcome {
            Outcome::Passed => {}
            Outcome::Failed { differences, because } => {
                let _ = writeln!(text, "FAILED  {title}");
                text.push_str(&in_lines(differences, because, "        "));
                text.push('\n');
            }
            Outcome::Error { why } => {
                let _ = writeln!(text, "ERROR   {title}\n        {}\n", why.replace('\n', "\n        "));
            }
        }
    }
    let errors = if *errors > 0 { format!(", {errors} could not be tested") } else { String::new() };
    let _ = writeln!(text, "{passed} passed, {failed} failed{errors}");
    text
}

/// What is not as expected, a field after another, and why it is so.
fn in_lines(differences: &[Difference], because: &str, indent: &str) -> String {
    let mut text = String::new();
    let width = differences.iter().map(|one| one.field.chars().count()).max().unwrap_or_default().max("because".len());
    for Difference { field, expected, found } in differences {
        let _ = writeln!(text, "{indent}{field:<width$}  expected  {expected}");
        let _ = writeln!(text, "{indent}{:<width$}  found     {found}", "");
    }
    let _ = writeln!(text, "{indent}{:<width$}  {because}", "because");
    text
}
