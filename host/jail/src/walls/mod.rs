//! The walls of the jail. Each stands without the others.

pub(crate) mod descriptors;
pub(crate) mod landlock;
pub(crate) mod privileges;
pub(crate) mod rlimits;
pub(crate) mod seccomp;
pub(crate) mod user;
