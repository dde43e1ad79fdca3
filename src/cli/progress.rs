//! Progress of long work: a bar on a terminal; elsewhere nothing, or lines where the work tells of itself.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Shows that something is going on, and takes that away when it is dropped.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Work of unknown length.
    pub fn of(what: &'static str) -> Self {
        let bar = ProgressBar::new_spinner().with_message(what);
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    /// Work of so many steps.
    pub fn of_steps(what: &'static str, steps: usize) -> Self {
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}").expect("the template is one");
        Self(ProgressBar::new(steps as u64).with_style(style).with_message(what))
    }

    /// Work of so many steps that says what it waits for, below the bar.
    pub fn of_waiting(steps: usize) -> Self {
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {elapsed}\n{wide_msg}");
        let bar = ProgressBar::new(steps as u64).with_style(style.expect("the template is one"));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    /// So many steps are done.
    pub fn at(&self, steps: usize) {
        self.0.set_position(steps as u64);
    }

    /// What is waited for now.
    pub fn waits_for(&self, what: String) {
        self.0.set_message(what);
    }

    /// Whether anybody sees the bar.
    pub fn is_seen(&self) -> bool {
        !self.0.is_hidden()
    }

    /// Tells something that stays: above the bar, or on standard error where there is none.
    pub fn line(&self, text: &str) {
        if self.is_seen() { self.0.println(text) } else { eprintln!("{text}") }
    }

    /// One step is done.
    pub fn step(&self) {
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
