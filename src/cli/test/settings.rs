//! Settings of a case, by the names of their flags.

use std::collections::BTreeMap;

use anyhow::{anyhow, bail};
use clap::{Args, CommandFactory, Parser};
use serde_json::Value;

use crate::cli::decision_args::DecisionArgs;
use crate::kernel::text::nearest_word;

#[derive(Parser)]
struct CaseFlags {
    #[command(flatten)]
    decision_args: DecisionArgs,
}

/// Parses the settings and flags of a case as those of a command line.
pub(super) fn parse_settings(settings: &BTreeMap<String, Value>, flags: &[String]) -> anyhow::Result<DecisionArgs> {
    let mut arguments = vec!["case".to_owned()];
    for (name, value) in settings {
        check_setting(name)?;
        match value {
            Value::Array(values) => arguments.extend(values.iter().map(|value| to_flag(name, value))),
            value => arguments.push(to_flag(name, value)),
        }
    }
    arguments.extend(flags.iter().cloned());
    if !arguments.iter().any(|argument| argument.starts_with("--own-namespace")) {
        // The environment of the test must not matter.
        arguments.push("--own-namespace=outrigger-system".to_owned());
    }
    let parsed = CaseFlags::try_parse_from(arguments).map_err(|error| {
        let message = error.to_string();
        let first = message.lines().next().unwrap_or_default();
        anyhow!("settings: {}", first.trim_start_matches("error: "))
    })?;
    Ok(parsed.decision_args)
}

fn check_setting(name: &str) -> anyhow::Result<()> {
    let command = DecisionArgs::augment_args(CaseFlags::command());
    let known: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    if known.contains(&name) {
        return Ok(());
    }
    let meant =
        nearest_word(name, known.iter().copied()).map(|meant| format!("did you mean {meant}? ")).unwrap_or_default();
    bail!("settings.{name}: unknown setting; {meant}known are {}", known.join(", "))
}

fn to_flag(name: &str, value: &Value) -> String {
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    format!("--{name}={value}")
}
