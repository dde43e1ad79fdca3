//! Doctor: findings about what stands between rules and their effect.

pub mod diagnosis;
