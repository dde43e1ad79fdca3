//! The `outrigger` binary: parse the command line, run the command, turn its answer into an exit code.
fn main() {}
