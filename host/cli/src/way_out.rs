//! Which option helps where an address cannot be bound.

use anyhow::{Error, anyhow};
use socketserver::{BindHint, BuildError};

/// Returns the error, with the option that helps if one does.
pub fn named(error: BuildError) -> Error {
    let BuildError::Bind { hint: Some(hint), .. } = &error else { return error.into() };
    let (hint, option) = match hint {
        BindHint::StaleSocket => (*hint, ": --remove-stale-socket true removes it"),
        _ => (*hint, ""),
    };
    anyhow!("{:#}: {hint}{option}", Error::from(error))
}
