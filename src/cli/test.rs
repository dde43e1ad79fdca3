//! `outrigger test`: tests policies with cases in files.
//!
//! Needs no cluster and no server, and gives the same answer every day.

pub mod case;
pub mod expectation;
mod junit;
mod settings;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Args;
use serde::Serialize;

use super::snapshot::OutputFormat;
use crate::kernel::text::sanitize;
use case::{CaseFile, TestCase};
use expectation::FieldDifference;

#[derive(Debug, Args)]
pub struct TestArgs {
    /// Directory of case files in YAML, or one such file
    #[arg(value_name = "DIR")]
    path: PathBuf,
    /// Run only cases whose file name or own name contains this text
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Write the results as JUnit XML to this file too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    output: OutputFormat,
}

/// Results of all cases.
#[derive(Debug, Default, Serialize)]
struct TestReport {
    passed: usize,
    failed: usize,
    /// Number of unreadable files and of cases that could not be decided.
    errors: usize,
    results: Vec<TestResult>,
}

/// Result of one case. An unreadable file has one result without a name.
#[derive(Debug, Serialize)]
struct TestResult {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(flatten)]
    outcome: TestOutcome,
}

#[derive(Debug, Serialize)]
#[serde(tag = "outcome")]
enum TestOutcome {
    Passed,
    /// At least one field differs; `because` explains the decision.
    Failed {
        differences: Vec<FieldDifference>,
        because: String,
    },
    /// The case could not be decided.
    Error {
        why: String,
    },
}

pub fn run(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let TestArgs { path, filter, junit, output } = args;
    let report = TestReport::run(&case_files(path)?, filter.as_deref());
    ensure!(!report.results.is_empty(), "{}", no_cases_message(path, filter.as_deref()));
    if let Some(junit) = junit {
        let xml = junit::to_xml(&report);
        std::fs::write(junit, xml).with_context(|| format!("cannot write {}", junit.display()))?;
    }
    output.print(&report, format_table)?;
    Ok(match report {
        TestReport { errors: 1.., .. } => ExitCode::from(2),
        TestReport { failed: 1.., .. } => ExitCode::from(1),
        TestReport { .. } => ExitCode::SUCCESS,
    })
}

fn no_cases_message(path: &Path, filter: Option<&str>) -> String {
    match filter {
        Some(text) => format!("no case in {} has {text:?} in its name", path.display()),
        None => format!("{} has no cases: give a directory of case files, or one such file", path.display()),
    }
}

fn case_files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
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

impl TestReport {
    fn run(files: &[PathBuf], filter: Option<&str>) -> Self {
        let mut report = Self::default();
        for path in files {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let cases = match CaseFile::read(path) {
                Ok(cases) => cases,
                Err(error) => {
                    let outcome = TestOutcome::Error { why: format!("{error:#}") };
                    report.add(TestResult { file, name: None, outcome });
                    continue;
                }
            };
            for case in cases {
                let is_selected = |text: &str| format!("{file}: {}", case.name).contains(text);
                if filter.is_none_or(is_selected) {
                    report.add(TestResult {
                        file: file.clone(),
                        name: Some(sanitize(&case.name)),
                        outcome: run_case(&case),
                    });
                }
            }
        }
        report
    }

    fn add(&mut self, result: TestResult) {
        let count = match result.outcome {
            TestOutcome::Passed => &mut self.passed,
            TestOutcome::Failed { .. } => &mut self.failed,
            TestOutcome::Error { .. } => &mut self.errors,
        };
        *count += 1;
        self.results.push(result);
    }
}

fn run_case(case: &TestCase) -> TestOutcome {
    let result = match case.decide() {
        Ok(result) => result,
        Err(error) => return TestOutcome::Error { why: format!("{error:#}") },
    };
    let differences = case.expect.differences(&result);
    if differences.is_empty() {
        return TestOutcome::Passed;
    }
    TestOutcome::Failed { differences, because: result.summary() }
}

/// Formats the results for people: the differences, and the counts.
fn format_table(report: &TestReport) -> String {
    let TestReport { passed, failed, errors, results } = report;
    let mut text = String::new();
    for TestResult { file, name, outcome } in results {
        let title = name.as_ref().map_or_else(|| file.clone(), |name| format!("{file}: {name}"));
        match outcome {
            TestOutcome::Passed => {}
            TestOutcome::Failed { differences, because } => {
                let _ = writeln!(text, "FAILED  {title}");
                text.push_str(&format_differences(differences, because, "        "));
                text.push('\n');
            }
            TestOutcome::Error { why } => {
                let _ = writeln!(text, "ERROR   {title}\n        {}\n", why.replace('\n', "\n        "));
            }
        }
    }
    let errors = if *errors > 0 { format!(", {errors} could not be tested") } else { String::new() };
    let _ = writeln!(text, "{passed} passed, {failed} failed{errors}");
    text
}

/// Formats the differences, one field after another, and the reason of the decision.
fn format_differences(differences: &[FieldDifference], because: &str, indent: &str) -> String {
    let mut text = String::new();
    let width = differences.iter().map(|one| one.field.chars().count()).max().unwrap_or_default().max("because".len());
    for FieldDifference { field, expected, found } in differences {
        let _ = writeln!(text, "{indent}{field:<width$}  expected  {expected}");
        let _ = writeln!(text, "{indent}{:<width$}  found     {found}", "");
    }
    let _ = writeln!(text, "{indent}{:<width$}  {because}", "because");
    text
}
