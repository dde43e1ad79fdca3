//! `outrigger serve`: composes the server, in a cluster or without one. Also the entry of the whole program.

mod cluster;
mod embedded;
mod environment;
mod listeners;
mod signals;

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::audit::{self, AuditDestination, AuditLog, AuditWriter};
use crate::cli::serve_args::ServeArgs;
use crate::cli::{Cli, Command};
use crate::controllers;
use crate::controllers::drift::DriftController;
use crate::kernel::clock::Clock;
use crate::kubernetes::inventory::Inventory;
use crate::metrics::Metrics;
use crate::tasks::Tasks;
use signals::StopSignals;

/// Parses the command line, runs its command, and turns the outcome into an exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = Runtime::new().map_err(Into::into).and_then(|runtime| {
        let outcome = runtime.block_on(async {
            match cli.command {
                Command::Serve(args) => run(args).await,
                Command::Client(command) => command.run().await,
            }
        });
        // A write that hangs, such as one to a full pipe, must not keep the process from ending.
        runtime.shutdown_background();
        outcome
    });
    outcome.unwrap_or_else(|error| {
        eprintln!("outrigger: {error:#}");
        ExitCode::from(2)
    })
}

/// Parts that the whole server shares.
struct ServeContext {
    args: ServeArgs,
    inventory: Arc<Inventory>,
    clock: Clock,
    metrics: Metrics,
    audit: AuditLog,
    tasks: Tasks,
    /// Cancelled when the last review is answered. The inventory is followed until then.
    drained: CancellationToken,
}

async fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    log_to_stderr();
    // Before anything else: until then a signal would end the process in the middle of its work.
    let signals = StopSignals::listen()?;
    let audit_destination = destination(&args.audit_log).open().await?;
    let (mut context, audit_writer) = ServeContext::new(args);
    let environment = match context.args.embedded.clone() {
        Some(directory) => embedded::start(&mut context, directory.as_deref())?,
        None => cluster::start(&mut context).await?,
    };
    context.start_suspension_watch();
    if context.args.embedded.is_some() && !context.args.drift.no_drift {
        context.start_drift();
    }
    let stop_timeout = listeners::start(&mut context, environment)?;
    context.tasks.spawn("audit log", audit_writer.run(audit_destination));
    let (tasks, stop) = (context.into_tasks(), CancellationToken::new());
    tokio::select! {
        ended = tasks.run_until(stop.clone().cancelled_owned(), stop_timeout) => ended.map(|()| ExitCode::SUCCESS).map_err(Into::into),
        () = signals.wait_for_second(&stop) => Ok(ExitCode::from(130)),
    }
}

impl ServeContext {
    fn new(args: ServeArgs) -> (Self, AuditWriter) {
        let clock = Clock::System;
        let (audit, audit_writer) = audit::audit_channel(clock.clone());
        let context = Self {
            inventory: Arc::new(args.decision_args.new_inventory()),
            args,
            clock,
            metrics: Metrics::new(audit.lost_counter().clone()),
            audit,
            tasks: Tasks::default(),
            drained: CancellationToken::new(),
        };
        (context, audit_writer)
    }

    /// Returns the tasks and drops the rest: the audit log ends only when the last handle to it is dropped.
    fn into_tasks(self) -> Tasks {
        self.tasks
    }

    fn start_suspension_watch(&mut self) {
        let Self { args, inventory, clock, metrics, audit, tasks, .. } = self;
        let audit = args.embedded.is_some().then(|| audit.clone());
        let watch = controllers::suspension_watch::run(Arc::clone(inventory), clock.clone(), metrics.clone(), audit);
        tasks.spawn_until_stopped("suspensions", watch);
    }

    fn start_drift(&mut self) {
        let drift = controllers::drift::run(Arc::clone(&self.inventory), self.clock.clone(), self.drift_controller());
        self.tasks.spawn_until_stopped("drift", drift);
    }

    /// Creates the drift controller that only reports: it writes no events and repairs nothing.
    fn drift_controller(&self) -> DriftController {
        DriftController {
            interval: self.args.drift.drift_interval,
            metrics: self.metrics.clone(),
            audit: self.audit.clone(),
            events: None,
            repairing: None,
        }
    }
}

fn destination(path: &Path) -> AuditDestination {
    if path == Path::new("-") { AuditDestination::Stdout } else { AuditDestination::File(path.to_owned()) }
}

/// Sends logs to standard error: standard output is for the audit log alone.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).init();
}
