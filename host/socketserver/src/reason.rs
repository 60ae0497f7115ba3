//! The reasons for which a request fails, each with the party to blame.

use std::fmt;

/// The party that caused a request to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The handler: it returned an error, panicked or trapped.
    Guest,
    /// The client: it reset the connection, or was silent for too long.
    Client,
    /// The operator's policy: a limit was reached, or something is not granted.
    Policy,
    /// The host: it ran out of a resource, or has a bug.
    Host,
}

impl Blame {
    /// Returns `guest`, `client`, `policy` or `host`.
    pub fn as_str(self) -> &'static str {
        match self {
            Blame::Guest => "guest",
            Blame::Client => "client",
            Blame::Policy => "policy",
            Blame::Host => "host",
        }
    }
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Declares [`Reason`] from one table: variant, word, blame, description.
macro_rules! reasons {
    ($($variant:ident, $word:literal, $blame:ident, $doc:literal;)*) => {
        /// The reason for which a request failed.
        ///
        /// Each reason has one word, which logs and counters show, and one [`Blame`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $(#[doc = $doc] $variant,)*
        }

        impl Reason {
            /// Every reason, sorted by its word.
            pub const ALL: &[Reason] = &[$(Reason::$variant,)*];

            /// Returns the word for this reason, such as `idle-timeout`.
            pub fn as_str(self) -> &'static str {
                match self { $(Reason::$variant => $word,)* }
            }

            /// Returns a sentence that says what happened.
            pub fn description(self) -> &'static str {
                match self { $(Reason::$variant => $doc,)* }
            }

            /// Returns the party to blame for this reason.
            pub fn blame(self) -> Blame {
                match self { $(Reason::$variant => Blame::$blame,)* }
            }
        }
    };
}

reasons! {
    Call, "call", Guest, "The host refused a call, because the handler passed or asked for too much data.";
    Child, "child", Host, "The process of the request crashed, or ended with an unexpected status.";
    ConnectionLost, "connection-lost", Client, "The client reset the connection, or its Unix socket was removed.";
    Connects, "connects", Guest, "The handler made as many connections as it may, and would make another.";
    CpuTime, "cpu-time", Guest, "The handler used up its CPU time.";
    Error, "error", Guest, "The handler returned an error.";
    Exit, "exit", Guest, "The handler asked to exit ([`SystemExit`](crate::SystemExit)). This is not reported as a failure.";
    ExitStatus, "exit-status", Guest, "The program exited with a status other than 0.";
    Handles, "handles", Guest, "The handler held as many handles as it may, and asked for another.";
    Handshake, "handshake", Client, "The client's handshake of TLS failed, or was not done in time. No handler ran.";
    IdleTimeout, "idle-timeout", Client, "No byte moved in either direction for the idle timeout.";
    Jail, "jail", Host, "The process of the request could not enter the jail.";
    Lifetime, "lifetime", Host, "The process of the request outlived its time, and its parent killed it.";
    Memory, "memory", Guest, "The handler failed after it was refused memory beyond its own limit.";
    MemoryTotal, "memory-total", Policy, "The handler failed after it was refused memory beyond the limit of all requests together. As a fiber it has touched such memory.";
    NoAddress, "no-address", Client, "A datagram cannot be answered at the address that it came from.";
    NoInstance, "no-instance", Host, "The host could not make an instance of the handler.";
    NoProcess, "no-process", Host, "The host could not fork a process.";
    NoThread, "no-thread", Host, "The host could not start a thread.";
    NoTicker, "no-ticker", Host, "The host could not start the thread that advances the engine's epoch.";
    Outbound, "outbound", Policy, "No byte moved for the idle timeout, while the handler waited only for sockets that it opened.";
    Panic, "panic", Guest, "A native handler panicked.";
    Received, "received", Client, "The client sent more bytes than the request may receive.";
    Sent, "sent", Guest, "The handler tried to send more bytes than the request may send.";
    Sleep, "sleep", Guest, "The handler slept until no byte had moved for the idle timeout.";
    Stack, "stack", Guest, "The handler used up its stack.";
    TimedOut, "timed-out", Client, "A native handler returned the timeout of its socket as its error.";
    Trap, "trap", Guest, "The handler trapped.";
    WallTime, "wall-time", Policy, "The request took longer than its wall time.";
    Worker, "worker", Host, "The worker process crashed, or ended with an unexpected status.";
    WrongWorld, "wrong-world", Policy, "A handler of connections was given a datagram, or the other way round.";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_sorted_and_unique() {
        let words: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert!(words.is_sorted_by(|one, next| one < next), "{words:?}");
    }
}
