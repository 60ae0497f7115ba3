//! The names of application protocols.

/// Parses the name of a protocol, as ALPN has it.
pub fn protocol(text: &str) -> Result<String, String> {
    if (1..=255).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err("write a name of 1 to 255 bytes, such as http/1.1".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_has_a_name_that_fits() {
        assert_eq!(protocol("h2").as_deref(), Ok("h2"));
        assert!(protocol("").is_err() && protocol(&"x".repeat(256)).is_err());
    }
}
