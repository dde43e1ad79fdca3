//! Shared by all other modules: names that users type, object references, time and durations, text, ids and the error of API calls.

pub mod api_error;
pub mod clock;
pub mod count;
pub mod duration;
pub mod ids;
pub mod names;
pub mod object_ref;
pub mod text;
pub mod ttl_map;
