//! Progress of long work: a bar on a terminal. Elsewhere nothing, or the lines that the work prints.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Progress bar or spinner, removed from the terminal on drop.
#[derive(Debug)]
pub struct ProgressDisplay(ProgressBar);

impl ProgressDisplay {
    /// Shows a spinner for work of unknown length.
    pub fn spinner(message: &'static str) -> Self {
        let bar = ProgressBar::new_spinner().with_message(message);
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    /// Shows a bar for work of so many steps.
    pub fn with_steps(message: &'static str, steps: usize) -> Self {
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}").expect("the template is one");
        Self(ProgressBar::new(steps as u64).with_style(style).with_message(message))
    }

    /// Shows a bar for work of so many steps, with a message line below it.
    pub fn with_steps_and_message(steps: usize) -> Self {
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {elapsed}\n{wide_msg}");
        let bar = ProgressBar::new(steps as u64).with_style(style.expect("the template is one"));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    /// Sets the number of finished steps.
    pub fn set_position(&self, steps: usize) {
        self.0.set_position(steps as u64);
    }

    /// Sets the message below the bar.
    pub fn set_message(&self, message: String) {
        self.0.set_message(message);
    }

    /// Whether the bar is on a terminal.
    pub fn is_visible(&self) -> bool {
        !self.0.is_hidden()
    }

    /// Prints a line that stays: above the bar, or on standard error without one.
    pub fn print_line(&self, text: &str) {
        if self.is_visible() { self.0.println(text) } else { eprintln!("{text}") }
    }

    /// Counts one finished step.
    pub fn advance(&self) {
        self.0.inc(1);
    }
}

impl Drop for ProgressDisplay {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
