//! The `outrigger` binary. All code is in the library, so that none of it is compiled twice.

use std::process::ExitCode;

fn main() -> ExitCode {
    outrigger::serve::main()
}
