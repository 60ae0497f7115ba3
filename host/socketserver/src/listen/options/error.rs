//! What can be wrong with the options of a listening socket.

use thiserror::Error;

use super::table::ListenOption;
use crate::text::printable;

/// How much of a name or a value an error quotes, in bytes.
const LONGEST: usize = 100;

/// Why a text is no option of a listening socket, or not of this one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OptionError {
    /// No option has that name.
    #[error(
        "there is no option `{}` of a listening socket: {}",
        printable(name, LONGEST),
        nearest.map_or_else(names, |nearest| format!("did you mean `{nearest}`?"))
    )]
    Unknown {
        /// The name.
        name: String,
        /// The option that has the most similar one.
        nearest: Option<&'static str>,
    },
    /// The option is for sockets of other schemes.
    #[error("the option `{}` is for {}, not for {scheme}://", option.name, option.schemes())]
    Scheme {
        /// The option.
        option: &'static ListenOption,
        /// The scheme that it is not for.
        scheme: String,
    },
    /// The option is for IPv6, and the address is not.
    #[error("the option `{}` is for IPv6 addresses, such as [::]", option.name)]
    NotIpv6 {
        /// The option.
        option: &'static ListenOption,
    },
    /// A multicast group is of IPv4, and the address of IPv6, or the other way round.
    #[error(
        "the group in `{}={}` is not of the same family as the address of the socket",
        option.name, printable(value, LONGEST)
    )]
    Family {
        /// The option.
        option: &'static ListenOption,
        /// Its value.
        value: String,
    },
    /// The value cannot be parsed, or is out of range.
    #[error("`{}={}`: write {}", option.name, printable(value, LONGEST), option.value)]
    Value {
        /// The option.
        option: &'static ListenOption,
        /// Its value.
        value: String,
    },
    /// The option is given more than once.
    #[error("the option `{}` is given twice", option.name)]
    Twice {
        /// The option.
        option: &'static ListenOption,
    },
}

fn names() -> String {
    let names: Vec<_> = ListenOption::ALL.iter().map(|option| option.name).collect();
    format!("they are {}", names.join(", "))
}
