//! Which option helps where an address cannot be bound.

use anyhow::{Error, anyhow};
use socketserver::{BindHint, BuildError};

/// The error, with the option that helps if one does.
pub fn named(error: BuildError) -> Error {
    let option = match &error {
        BuildError::Bind { hint: Some(BindHint::StaleSocket), .. } => {
            "--remove-stale-socket true removes it"
        }
        _ => return error.into(),
    };
    anyhow!("{error}: {option}")
}
