//! The rules that refuse clients.

use std::fmt;

/// The rule that refused a client, for the log and for counters. The client cannot learn
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The connection is not from one of the [proxies](crate::ProxyProtocol) of the server.
    ProxyFrom,
    /// The connection from a proxy does not begin with a header of the PROXY protocol, or has
    /// ended before its header was whole.
    ProxyMissing,
    /// The header of the PROXY protocol is malformed.
    ProxyMalformed,
    /// The header of the PROXY protocol was not whole in time.
    ProxyTimeout,
    /// [`Access::deny`](super::Access::deny) names the client.
    Deny,
    /// No [`Access::allow`](super::Access::allow) names the client.
    Allow,
    /// A rule depends on the user of a Unix client, which the kernel does not know.
    Peer,
    /// The client has reset its connection already, see
    /// [`refuse_reset`](super::Access::refuse_reset).
    Reset,
    /// The client came outside of the [`access_times`](super::Access::access_times).
    Hours,
    /// The machine is at or above its [`max_load`](super::Access::max_load).
    Load,
    /// The source of the client came too often for [`source_rate`](super::Access::source_rate).
    SourceRate,
    /// The source of the client has
    /// [`max_per_source`](super::Access::max_per_source) requests in flight.
    PerSource,
    /// All sources together came too often for [`rate`](super::Access::rate): a pause
    /// begins.
    Rate,
    /// The client came in such a pause.
    Pause,
}

impl Refusal {
    /// Every rule, in the order in which the rules apply.
    pub const ALL: [Refusal; 14] = [
        Refusal::ProxyFrom,
        Refusal::ProxyMissing,
        Refusal::ProxyMalformed,
        Refusal::ProxyTimeout,
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

    /// Returns the rule as one word, such as `per-source`.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::ProxyFrom => "proxy-from",
            Refusal::ProxyMissing => "proxy-missing",
            Refusal::ProxyMalformed => "proxy-malformed",
            Refusal::ProxyTimeout => "proxy-timeout",
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
