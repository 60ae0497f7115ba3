//! Python's server classes.

use socketserver::ServerClass;

use super::nearest::nearest;

/// Parses the name of a class. The error says which class was probably meant.
pub fn server_class(text: &str) -> Result<ServerClass, String> {
    text.parse::<ServerClass>().map_err(|error| {
        match nearest(text, ServerClass::ALL.map(ServerClass::name)) {
            Some(near) => format!("{error}. A similar class exists: `{near}`"),
            None => error.to_string(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_class_that_was_meant() {
        for (text, near) in [
            ("ThreadedTCPServer", "ThreadingTCPServer"),
            ("tcpserver", "TCPServer"),
            ("UnixDatagram", "UnixDatagramServer"),
        ] {
            let error = server_class(text).unwrap_err();
            assert!(error.ends_with(&format!("A similar class exists: `{near}`")), "{error}");
        }
        assert!(!server_class("gunicorn").unwrap_err().contains("similar"));
    }
}
