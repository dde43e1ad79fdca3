//! What every other module may use: names that users type, time, text.

pub mod api_error;
pub mod clock;
pub mod ids;
pub mod names;
pub mod text;
