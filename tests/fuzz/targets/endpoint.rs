//! `--bind`: a parsed endpoint prints as text that parses to the same endpoint.
#![no_main]

use std::net::Ipv4Addr;

use libfuzzer_sys::{Corpus, fuzz_target};
use socketserver::{Endpoint, printable};
use socketserver_fuzz::{check_message, is_printable};

fuzz_target!(|text: &str| -> Corpus {
    if asks_the_resolver(text) {
        return Corpus::Reject;
    }
    match text.parse::<Endpoint>() {
        Ok(endpoint) => {
            let printed = endpoint.to_string();
            assert!(printed.chars().all(is_printable), "not printable: {printed:?}");
            // The name of a Unix socket may have any bytes, and prints escaped.
            if printable(text, usize::MAX) == text {
                assert_eq!(printed.parse(), Ok(endpoint), "{printed:?}");
            }
        }
        Err(error) => check_message(error),
    }
    Corpus::Keep
});

/// Returns whether the host would look the name up, which is slow and no parser of this project.
fn asks_the_resolver(text: &str) -> bool {
    let (text, _) = text.split_once('?').unwrap_or((text, ""));
    let inet = text.strip_prefix("tcp://").or_else(|| text.strip_prefix("udp://"));
    let host = inet.and_then(|inet| inet.rsplit_once(':')).map_or("", |(host, _)| host);
    !host.is_empty() && !host.contains([':', '[', ']']) && host.parse::<Ipv4Addr>().is_err()
}
