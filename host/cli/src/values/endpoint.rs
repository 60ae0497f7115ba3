//! Addresses that the server listens on.

use socketserver::{Endpoint, EndpointError};

use super::nearest::nearest;

/// The schemes of addresses.
const SCHEMES: [&str; 4] = ["tcp", "udp", "unix", "unixgram"];

/// Parses the URL of an address. The error says which scheme was probably meant.
pub fn endpoint(text: &str) -> Result<Endpoint, String> {
    text.parse().map_err(|error: EndpointError| match &error {
        EndpointError::Scheme(scheme) => match nearest(scheme, SCHEMES) {
            Some(near) => format!("{error}. A similar scheme exists: `{near}://`"),
            None => error.to_string(),
        },
        EndpointError::NoScheme(address) => match with_scheme(address) {
            Some(url) => format!("{error}, such as {url}"),
            None => error.to_string(),
        },
        _ => error.to_string(),
    })
}

/// Returns the URL that an address without a scheme was probably meant to be.
fn with_scheme(address: &str) -> Option<String> {
    let tcp = if address.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("tcp://127.0.0.1:{address}")
    } else {
        format!("tcp://{address}")
    };
    let unix = format!("unix://{address}");
    let url = if address.starts_with(['/', '.', '@']) { unix } else { tcp };
    // A host name is not looked up for a suggestion.
    let is_name = url.starts_with("tcp")
        && url.contains(|c: char| c.is_ascii_alphabetic() && !"tcp".contains(c));
    (!is_name && url.parse::<Endpoint>().is_ok()).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_scheme_that_was_meant() {
        for (text, suggestion) in [
            ("tpc://127.0.0.1:80", ". A similar scheme exists: `tcp://`"),
            ("unixdgram:///a", ". A similar scheme exists: `unixgram://`"),
            ("127.0.0.1:80", "unixgram://PATH, such as tcp://127.0.0.1:80"),
            ("[::1]:80", ", such as tcp://[::1]:80"),
            ("8080", ", such as tcp://127.0.0.1:8080"),
            ("/run/upper", ", such as unix:///run/upper"),
            ("http://127.0.0.1:80", "unixgram://PATH"),
            ("localhost", "unixgram://PATH"),
        ] {
            let error = endpoint(text).unwrap_err();
            assert!(error.ends_with(suggestion), "{text}: {error}");
        }
    }
}
