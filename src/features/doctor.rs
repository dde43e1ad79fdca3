//! Doctor: findings about what keeps rules from their effect.

pub mod diagnosis;
pub mod finding;
pub mod installation;
