//! All integration tests, in one binary.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a failure, also in helper functions")]

mod api;
mod api_acts;
mod api_previews;
mod api_reads;
mod bad_input;
mod commands;
mod conformance;
mod control_plane;
mod decisions;
mod drift;
mod effect;
mod layers;
mod lease;
mod manifests;
mod page;
mod properties;
mod restarts;
mod reviews;
mod serve;
mod server;
mod snapshots;
mod statuses;
mod traffic;
mod webhook;
