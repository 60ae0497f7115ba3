//! Access control: the rules of super-servers such as xinetd and tcpserver.
//!
//! An [`Access`] consists of rules. It judges each client as soon as it is taken from the
//! queue, before the handler runs. It is for [`Hooks::verify_request`]:
//!
//! ```
//! use std::time::Duration;
//! use socketserver::access::{Access, ClientSet, network};
//! use socketserver::{Address, Hooks, Request, Server};
//!
//! struct AccessControl(Access);
//!
//! impl Hooks for AccessControl {
//!     fn verify_request(&self, request: &Request, client_address: &Address) -> bool {
//!         self.0.verify_request(request, client_address).is_ok()
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let access = Access::new()
//!     .allow(ClientSet::Network(network("127.0.0.0/8")?))
//!     .deny(ClientSet::Network(network("127.0.0.2")?))
//!     .max_per_source(10)
//!     .rate(100, Duration::from_secs(10));
//! let server = Server::builder(|request: &Request, _: &Address, _: &_| request.sendall(b"welcome\n"))
//!     .bind("tcp://127.0.0.1:0".parse()?)
//!     .hooks(AccessControl(access))
//!     .build()?;
//! # Ok(())
//! # }
//! ```
//!
//! | xinetd | tcpserver | here |
//! |---|---|---|
//! | `only_from` | `-x`, `allow` | [`Access::allow`] |
//! | `no_access` | `-x`, `deny` | [`Access::deny`] |
//! | `access_times` | | [`Access::access_times`] |
//! | `max_load` | | [`Access::max_load`] |
//! | | | [`Access::refuse_reset`] |
//! | | | [`Access::source_rate`] |
//! | `per_source` | | [`Access::max_per_source`] |
//! | `cps` | | [`Access::rate`] |
//! | `instances` | `-c` | [`Threading::max_requests`], [`Forking::max_children`] |
//! | `banner_fail` | | [`Access::banner`] |
//!
//! The rules apply in this order, deny before allow. Rules about the identity of a
//! client come first, so that a client that is never served uses up no permit and no
//! token.
//!
//! **A source** is an IPv4 address, the `/64` of an IPv6 address, or the user of
//! a Unix client. Datagrams count as connections do. The sender of a UDP datagram
//! can forge its address, so the limits of a source may be used up by others.
//!
//! **Clients that waited have not come at once.** A client is judged when it is taken.
//! It may have waited until then, for a permit or because the loop was busy. So the
//! rates judge it as if it had arrived at the best time for it since its queue was last
//! empty ([`Request::earliest_arrival`]). The other rules apply to the time at which it is
//! taken.
//!
//! **Each process counts for itself**: with [`Concurrency::Workers`], N workers
//! admit N times as many clients, except by [`Access::rate_over_workers`].
//!
//! [`Hooks::verify_request`]: crate::Hooks::verify_request
//! [`Threading::max_requests`]: crate::Threading#structfield.max_requests
//! [`Forking::max_children`]: crate::Forking::max_children
//! [`Concurrency::Workers`]: crate::Concurrency::Workers

mod banner;
mod client_set;
mod hours;
mod load;
mod pace;
mod per_source;
mod rate;
mod refusal;
mod source;
mod source_rate;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

pub use banner::{MAX_BANNER, banner};
pub use client_set::{ClientSet, network};
pub use hours::AccessTime;
pub use refusal::Refusal;

use crate::address::{Address, AddressFamily};
use crate::request::Request;
use hours::Hours;
use load::MaxLoad;
use per_source::PerSource;
use rate::Rate;
use source::Source;
use source_rate::SourceRate;

/// Rules that refuse clients. Without rules every client is served.
///
/// Each method after [`new`](Self::new) adds a rule, or replaces an earlier one.
#[derive(Debug, Default)]
pub struct Access {
    allow: Vec<ClientSet>,
    deny: Vec<ClientSet>,
    refuses_reset: bool,
    hours: Option<Hours>,
    max_load: Option<MaxLoad>,
    source_rate: Option<SourceRate>,
    per_source: Option<Arc<PerSource>>,
    rate: Option<Rate>,
    banner: Vec<u8>,
    /// Set if a rule depends on the user of a Unix client.
    needs_credentials: bool,
}

impl Access {
    /// Returns an `Access` without rules.
    pub fn new() -> Self {
        Access::default()
    }

    /// Serves these clients, and refuses all clients that no such rule names, on every
    /// socket. xinetd's `only_from`.
    #[must_use]
    pub fn allow(mut self, clients: ClientSet) -> Self {
        self.needs_credentials |= clients.needs_credentials();
        self.allow.push(clients);
        self
    }

    /// Refuses these clients, even if [`allow`](Self::allow) names them: a more specific
    /// rule does not take precedence. xinetd's `no_access`.
    #[must_use]
    pub fn deny(mut self, clients: ClientSet) -> Self {
        self.needs_credentials |= clients.needs_credentials();
        self.deny.push(clients);
        self
    }

    /// Refuses connections that were reset before they were taken, and have no data:
    /// no client would receive the answer, and a flood of them then costs the attacker
    /// more than the server. CPython runs their handlers, which fail with the error, and
    /// so does a server without this rule.
    #[must_use]
    pub fn refuse_reset(self) -> Self {
        Access { refuses_reset: true, ..self }
    }

    /// Serves at these times of the day only; an empty list refuses all clients. xinetd's
    /// `access_times`. The time zone is `TZ` or the system's, as it is now.
    ///
    /// # Errors
    ///
    /// The time zone in `TZ` does not exist.
    pub fn access_times(self, times: Vec<AccessTime>) -> io::Result<Self> {
        self.access_times_by(times, SystemTime::now)
    }

    /// As [`access_times`](Self::access_times), with another clock.
    ///
    /// # Errors
    ///
    /// The time zone in `TZ` does not exist.
    pub fn access_times_by(
        self,
        times: Vec<AccessTime>,
        clock: fn() -> SystemTime,
    ) -> io::Result<Self> {
        Ok(Access { hours: Some(Hours::new(times, clock)?), ..self })
    }

    /// Refuses all clients while the load average of the last minute is `limit` or
    /// more. It is read at most once in a second, and the kernel's value may
    /// be five seconds old. xinetd's `max_load`.
    #[must_use]
    pub fn max_load(self, limit: f64) -> Self {
        Access { max_load: Some(MaxLoad::new(limit)), ..self }
    }

    /// Limits the requests of each source to `per_second`, which may be a fraction, and
    /// to `burst` at once after a quiet time: a token bucket. A burst or a rate of 0
    /// refuses all clients.
    ///
    /// At most 65,536 sources are remembered. If more come, those that came the
    /// longest time ago are forgotten, and begin with a full bucket.
    #[must_use]
    pub fn source_rate(self, per_second: f64, burst: u32) -> Self {
        Access { source_rate: Some(SourceRate::new(per_second, burst)), ..self }
    }

    /// Limits the requests that each source has in flight. xinetd's `per_source`.
    ///
    /// A permit is free as soon as the handler is done, before the client sees the
    /// end. With [`Concurrency::Forking`](crate::Concurrency::Forking) it is free when
    /// the child has ended, which is a moment later.
    #[must_use]
    pub fn max_per_source(self, max_requests: u32) -> Self {
        Access { per_source: Some(PerSource::new(max_requests)), ..self }
    }

    /// Limits the clients in a second, over all sources, to `max_per_second`: a token
    /// bucket of that size that fills in a second. The next client is refused, and so are
    /// all others for as long as `pause`. After the pause the bucket is full. xinetd's
    /// `cps`, which closes its sockets in a pause.
    ///
    /// Clients that another rule refuses do not count. With 0 all clients are refused.
    #[must_use]
    pub fn rate(self, max_per_second: u32, pause: Duration) -> Self {
        Access { rate: Some(Rate::new(max_per_second, pause)), ..self }
    }

    /// As [`rate`](Self::rate), and counts the clients of all
    /// [`Concurrency::Workers`](crate::Concurrency::Workers) together.
    ///
    /// # Errors
    ///
    /// The kernel has no memory that the workers could share.
    pub fn rate_over_workers(self, max_per_second: u32, pause: Duration) -> io::Result<Self> {
        Ok(Access { rate: Some(Rate::shared(max_per_second, pause)?), ..self })
    }

    /// Sets the text that refused clients of streams receive before the end of their
    /// connection, the same for every rule. Only the first [`MAX_BANNER`] bytes are sent;
    /// nothing by default. The server does not wait for a client that cannot receive it
    /// at once. xinetd's `banner_fail`.
    #[must_use]
    pub fn banner(self, banner: impl Into<Vec<u8>>) -> Self {
        let mut banner = banner.into();
        banner.truncate(MAX_BANNER);
        Access { banner, ..self }
    }

    /// Applies the rules to this request. If it is admitted, and a rule counts requests in
    /// flight, the request keeps its permit until it ends. If it is refused, this sends
    /// the banner.
    ///
    /// It does not wait, and takes microseconds.
    ///
    /// # Errors
    ///
    /// The rule that refused the request.
    pub fn verify_request(
        &self,
        request: &Request,
        client_address: &Address,
    ) -> Result<(), Refusal> {
        let judged = self.judge(request, client_address);
        if judged.is_err() {
            banner::send(&self.banner, request);
        }
        judged
    }

    /// Returns the end of the pause of [`rate`](Self::rate), if there is a pause now.
    pub fn paused_until(&self) -> Option<Instant> {
        self.rate.as_ref().and_then(|rate| rate.paused_until(Instant::now()))
    }

    fn judge(&self, request: &Request, client: &Address) -> Result<(), Refusal> {
        let counts = self.source_rate.is_some() || self.per_source.is_some();
        let unix = client.family() == AddressFamily::Unix;
        let peer = if unix && (counts || self.needs_credentials) {
            request.peer_credentials()
        } else {
            None
        };
        let matches =
            |rules: &[ClientSet]| rules.iter().any(|clients| clients.includes(client, peer));
        refuse_if(matches(&self.deny), Refusal::Deny)?;
        let unknown = unix && self.needs_credentials && peer.is_none();
        refuse_if(unknown, Refusal::Peer)?;
        refuse_if(!self.allow.is_empty() && !matches(&self.allow), Refusal::Allow)?;
        refuse_if(self.refuses_reset && request.is_reset(), Refusal::Reset)?;
        refuse_if(self.hours.as_ref().is_some_and(|hours| !hours.admit()), Refusal::Hours)?;
        if !(counts || self.max_load.is_some() || self.rate.is_some()) {
            return Ok(());
        }
        let (now, arrival) = (Instant::now(), request.earliest_arrival());
        let busy = self.max_load.as_ref().is_some_and(|max| !max.admit(now));
        refuse_if(busy, Refusal::Load)?;
        let mut permit = None;
        if counts {
            let source = Source::of_client(client, peer).ok_or(Refusal::Peer)?;
            let too_often =
                self.source_rate.as_ref().is_some_and(|rate| !rate.admit(source, arrival, now));
            refuse_if(too_often, Refusal::SourceRate)?;
            if let Some(per_source) = &self.per_source {
                permit = Some(per_source.acquire(source).ok_or(Refusal::PerSource)?);
            }
        }
        self.rate.as_ref().map_or(Ok(()), |rate| rate.admit(arrival, now))?;
        if let Some(permit) = permit {
            request.keep(permit);
        }
        Ok(())
    }
}

fn refuse_if(refused: bool, by: Refusal) -> Result<(), Refusal> {
    if refused { Err(by) } else { Ok(()) }
}
