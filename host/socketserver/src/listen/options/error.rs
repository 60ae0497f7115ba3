//! The errors of options of a listening socket.

use thiserror::Error;

use super::table::UrlOption;
use crate::text::printable;

/// The longest part of a name or a value that an error quotes, in bytes.
const MAX_QUOTED: usize = 100;

/// The error of a text that is not an option of a listening socket, or does not fit this
/// socket.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OptionError {
    /// No option has that name.
    #[error(
        "listening sockets have no option `{}`: {}",
        printable(name, MAX_QUOTED),
        nearest.map_or_else(names, |nearest| format!("did you mean `{nearest}`?"))
    )]
    Unknown {
        /// The name.
        name: String,
        /// The option with the most similar name.
        nearest: Option<&'static str>,
    },
    /// The option is for sockets of other schemes.
    #[error("the option `{}` is for {}, not for {scheme}://", option.name, option.scheme_list())]
    Scheme {
        /// The option.
        option: &'static UrlOption,
        /// The scheme of the socket.
        scheme: String,
    },
    /// The option is for IPv6 addresses only.
    #[error("the option `{}` is for IPv6 addresses, such as [::]", option.name)]
    NotIpv6 {
        /// The option.
        option: &'static UrlOption,
    },
    /// The multicast group is an IPv4 address and the socket has an IPv6 address, or the
    /// other way round.
    #[error(
        "the group in `{}={}` is not of the same address family as the socket",
        option.name, printable(value, MAX_QUOTED)
    )]
    Family {
        /// The option.
        option: &'static UrlOption,
        /// Its value.
        value: String,
    },
    /// The value cannot be parsed, or is out of range.
    #[error("`{}={}`: write {}", option.name, printable(value, MAX_QUOTED), option.value)]
    Value {
        /// The option.
        option: &'static UrlOption,
        /// Its value.
        value: String,
    },
    /// The option is given more than once.
    #[error("the option `{}` is given twice", option.name)]
    Twice {
        /// The option.
        option: &'static UrlOption,
    },
}

fn names() -> String {
    let names: Vec<_> = UrlOption::ALL.iter().map(|option| option.name).collect();
    format!("they are {}", names.join(", "))
}
