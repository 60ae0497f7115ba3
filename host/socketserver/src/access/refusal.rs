//! Which rule refused a client.

use std::fmt;

/// The rule that a client was refused by.
///
/// It is for the log and for counters. A client is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// [`Access::deny`](super::Access::deny) names it.
    Deny,
    /// No [`Access::allow`](super::Access::allow) names it, and there are some.
    Allow,
    /// A rule depends on the user of a Unix client, and the kernel does not know it.
    Peer,
    /// It has reset its connection already, see
    /// [`refuse_reset`](super::Access::refuse_reset).
    Reset,
    /// It came outside of the [`access_times`](super::Access::access_times).
    Hours,
    /// The machine is at or above its [`max_load`](super::Access::max_load).
    Load,
    /// Its source came too often for [`source_rate`](super::Access::source_rate).
    SourceRate,
    /// Its source has [`max_per_source`](super::Access::max_per_source) requests
    /// in flight.
    PerSource,
    /// All sources together came too often for [`rate`](super::Access::rate): a pause
    /// begins.
    Rate,
    /// It came in such a pause.
    Pause,
}

impl Refusal {
    /// All of them, in the order in which the rules are looked at.
    pub const ALL: [Refusal; 10] = [
        Refusal::Deny,
        Refusal::Peer,
        Refusal::Allow,
        Refusal::Reset,
        Refusal::Hours,
        Refusal::Load,
        Refusal::SourceRate,
        Refusal::PerSource,
        Refusal::Rate,
        Refusal::Pause,
    ];

    /// A word for it, such as `per-source`.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::Deny => "deny",
            Refusal::Allow => "allow",
            Refusal::Peer => "peer",
            Refusal::Reset => "reset",
            Refusal::Hours => "hours",
            Refusal::Load => "load",
            Refusal::SourceRate => "source-rate",
            Refusal::PerSource => "per-source",
            Refusal::Rate => "rate",
            Refusal::Pause => "pause",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
