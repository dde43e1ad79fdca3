//! Doctor: findings about what keeps rules from their effect.

pub mod diagnosis;
