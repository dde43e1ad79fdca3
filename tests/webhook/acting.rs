//! Writes by the API on a real control plane: with the caller's own rights, and no others.

mod overrides;
mod restarting;
