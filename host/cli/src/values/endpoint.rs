//! Addresses that the server listens on, and sockets that it is passed.

use std::fmt;

use socketserver::{Endpoint, EndpointError, SocketType};

use super::nearest::nearest;

/// The schemes of addresses, and of passed sockets.
const SCHEMES: [&str; 8] =
    ["tcp", "tls", "udp", "unix", "tls+unix", "unixgram", "systemd", "tls+systemd"];

/// The scheme of passed sockets.
const SYSTEMD: &str = "systemd://";

/// The prefix of the scheme of passed sockets whose connections have TLS.
const WITH_TLS: &str = "tls+";

/// The longest name of a passed socket, in bytes, as in systemd.
const MAX_NAME: usize = 255;

/// A value of `--bind`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// An address that the server binds.
    Address(Endpoint),
    /// The sockets of this name that systemd passes, or all that no other `--bind` names.
    Passed {
        /// The name; `None` for all that are left.
        name: Option<String>,
        /// True if their connections have TLS.
        has_tls: bool,
    },
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bind::Address(endpoint) => write!(f, "{endpoint}"),
            Bind::Passed { name, has_tls } => {
                let prefix = if *has_tls { WITH_TLS } else { "" };
                write!(f, "{prefix}{SYSTEMD}{}", name.as_deref().unwrap_or_default())
            }
        }
    }
}

impl Bind {
    /// Returns the address, if the server binds one.
    pub fn address(&self) -> Option<&Endpoint> {
        match self {
            Bind::Address(endpoint) => Some(endpoint),
            Bind::Passed { .. } => None,
        }
    }

    /// Returns true if it says that its connections have TLS.
    pub fn has_tls(&self) -> bool {
        match self {
            Bind::Address(endpoint) => endpoint.has_tls(),
            Bind::Passed { has_tls, .. } => *has_tls,
        }
    }

    /// Returns the same place without TLS.
    #[must_use]
    pub fn without_tls(&self) -> Bind {
        match self {
            Bind::Address(endpoint) => Bind::Address(endpoint.clone().with_tls(false)),
            Bind::Passed { name, .. } => Bind::Passed { name: name.clone(), has_tls: false },
        }
    }
}

/// Parses a value of `--bind`. The error says which scheme was probably meant.
pub fn bind(text: &str) -> Result<Bind, String> {
    let (has_tls, passed) = match text.strip_prefix(WITH_TLS) {
        Some(passed) => (true, passed),
        None => (false, text),
    };
    let Some(name) = passed.strip_prefix(SYSTEMD) else {
        return endpoint(text).map(Bind::Address);
    };
    if name.contains('?') {
        return Err("systemd has bound the socket: its unit has the options of the socket, such \
                    as ReceiveBuffer="
            .to_owned());
    }
    let is_name = |byte| (b' '..=b'~').contains(&byte) && byte != b':';
    if name.len() > MAX_NAME || !name.bytes().all(is_name) {
        return Err(format!(
            "a name of at most {MAX_NAME} printable characters without a colon, as \
             FileDescriptorName= in the socket unit"
        ));
    }
    Ok(Bind::Passed { name: (!name.is_empty()).then(|| name.to_owned()), has_tls })
}

/// Parses the URL of an address of connections, without options.
pub fn stream(text: &str) -> Result<Endpoint, String> {
    let endpoint = endpoint(text)?;
    let is_plain = endpoint.socket_type() == SocketType::Stream && !endpoint.has_tls();
    if !is_plain || text.contains('?') {
        return Err("write tcp://HOST:PORT or unix://PATH, without options".to_owned());
    }
    Ok(endpoint)
}

/// Parses the URL of an address.
fn endpoint(text: &str) -> Result<Endpoint, String> {
    text.parse().map_err(|error: EndpointError| match &error {
        EndpointError::Scheme(scheme) if scheme == "dtls" || scheme.starts_with(WITH_TLS) => {
            format!(
                "{error}. TLS is for connections: write tls://HOST:PORT, tls+unix://PATH or \
                 tls+systemd://NAME"
            )
        }
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
    fn passed_sockets_have_the_names_of_systemd() {
        for (text, name) in [("systemd://", None), ("systemd://web-1.socket", Some("web-1.socket"))]
        {
            let parsed = bind(text).unwrap();
            let name = name.map(str::to_owned);
            assert_eq!(parsed, Bind::Passed { name, has_tls: false });
            assert_eq!(parsed.to_string(), text);
            let secured = bind(&format!("tls+{text}")).unwrap();
            assert!(secured.has_tls() && secured.without_tls() == parsed, "{secured}");
            assert_eq!(secured.to_string(), format!("tls+{text}"));
        }
        let long = format!("systemd://{}", "n".repeat(256));
        for wrong in ["systemd://a:b", "systemd://a\n", "systemd://web?rcvbuf=4MiB", &long] {
            assert!(bind(wrong).is_err(), "{wrong}");
        }
    }

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
            ("tlss://127.0.0.1:80", ". A similar scheme exists: `tls://`"),
            ("tls+udp://127.0.0.1:80", "tls+unix://PATH or tls+systemd://NAME"),
            ("tls+tcp://127.0.0.1:80", "tls+unix://PATH or tls+systemd://NAME"),
            ("system://web", ". A similar scheme exists: `systemd://`"),
        ] {
            let error = endpoint(text).unwrap_err();
            assert!(error.ends_with(suggestion), "{text}: {error}");
        }
    }
}
