//! Values in their text form: parsers that depend on no option.
//!
//! | file | content |
//! |---|---|
//! | `units` | sizes and durations |
//! | `owner` | users, groups and permissions |
//! | `endpoint`, `server_class` | addresses, and Python's server classes |
//! | `access` | clients, rates and the text for refused clients |
//! | `dir`, `env` | directories and environment variables for handlers |
//! | `digest` | digests of components |
//! | `language` | the languages of handlers |
//! | `nearest` | the word that a wrong word was meant to be |

pub mod access;
pub mod digest;
pub mod dir;
pub mod endpoint;
pub mod env;
pub mod language;
pub mod nearest;
pub mod owner;
pub mod server_class;
pub mod tls;
pub mod units;
