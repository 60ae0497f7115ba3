//! Who is served: the rules of super-servers such as xinetd and tcpserver.
//!
//! An [`Access`] is made of rules and judges each client as soon as it is there,
//! before anything is made for it. It is for [`Hooks::verify_request`]:
//!
//! ```
//! use std::time::Duration;
//! use socketserver::access::{Access, Who, network};
//! use socketserver::{Address, Hooks, Request, Server};
//!
//! struct Door(Access);
//!
//! impl Hooks for Door {
//!     fn verify_request(&self, request: &Request, client_address: &Address) -> bool {
//!         self.0.verify_request(request, client_address).is_ok()
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let access = Access::new()
//!     .allow(Who::Network(network("127.0.0.0/8")?))
//!     .deny(Who::Network(network("127.0.0.2")?))
//!     .max_per_source(10)
//!     .rate(100, Duration::from_secs(10));
//! let server = Server::builder(|request: &Request, _: &Address, _: &_| request.sendall(b"welcome\n"))
//!     .bind("tcp://127.0.0.1:0".parse()?)
//!     .hooks(Door(access))
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
//! The rules are looked at in this order, deny before allow. Those that say who
//! a client is come first, so that those who are never served use up nothing that
//! is counted.
//!
//! **A source** is an IPv4 address, the `/64` of an IPv6 address, or the user of
//! a Unix client. Datagrams count as connections do; whoever sends them by UDP
//! can make up an address, so those who are counted may be others.
//!
//! **Clients that waited have not come at once.** A client is judged when it is taken.
//! If it may have waited until then, for a place or because the loop was busy, the
//! rates judge it as if it had come at the best time for it since its queue was last
//! empty ([`Request::earliest_arrival`]). The other rules are about the time at which it is
//! taken.
//!
//! **Each process counts for itself**: with [`Concurrency::Workers`], N workers
//! let N times as many in, except by [`Access::rate_over_workers`].
//!
//! [`Hooks::verify_request`]: crate::Hooks::verify_request
//! [`Threading::max_requests`]: crate::Threading#structfield.max_requests
//! [`Forking::max_children`]: crate::Forking::max_children
//! [`Concurrency::Workers`]: crate::Concurrency::Workers

mod banner;
mod hours;
mod load;
mod pace;
mod per_source;
mod rate;
mod refusal;
mod source;
mod source_rate;
mod who;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

pub use banner::{MAX_BANNER, banner};
pub use hours::AccessTime;
pub use refusal::Refusal;
pub use who::{Who, network};

use crate::address::{Address, AddressFamily};
use crate::request::Request;
use hours::Hours;
use load::MaxLoad;
use per_source::PerSource;
use rate::Rate;
use source::Source;
use source_rate::SourceRate;

/// Rules about who is served. Without any, everybody is.
///
/// Made with [`new`](Self::new) and the methods after it, each of which adds a
/// rule or puts it in the place of an earlier one.
#[derive(Debug, Default)]
pub struct Access {
    allow: Vec<Who>,
    deny: Vec<Who>,
    refuses_reset: bool,
    hours: Option<Hours>,
    max_load: Option<MaxLoad>,
    source_rate: Option<SourceRate>,
    per_source: Option<Arc<PerSource>>,
    rate: Option<Rate>,
    banner: Vec<u8>,
    /// Whether a rule depends on who a Unix client is.
    needs_credentials: bool,
}

impl Access {
    /// No rules.
    pub fn new() -> Self {
        Access::default()
    }

    /// Serves these clients, and of the others only those that another such rule
    /// names, on every socket. xinetd's `only_from`.
    #[must_use]
    pub fn allow(mut self, who: Who) -> Self {
        self.needs_credentials |= who.needs_credentials();
        self.allow.push(who);
        self
    }

    /// Does not serve these clients, whatever [`allow`](Self::allow) says: there
    /// is no rule that is more specific than another. xinetd's `no_access`.
    #[must_use]
    pub fn deny(mut self, who: Who) -> Self {
        self.needs_credentials |= who.needs_credentials();
        self.deny.push(who);
        self
    }

    /// Does not serve clients of connections that have been reset before they were
    /// taken, with nothing in them: there is nobody to answer, and whoever makes a
    /// flood of these pays more for each than the server. CPython has their handlers
    /// run into the error, and so does a server without this rule.
    #[must_use]
    pub fn refuse_reset(self) -> Self {
        Access { refuses_reset: true, ..self }
    }

    /// Serves at these times of the day only; at none if there are none. xinetd's
    /// `access_times`. The time zone is the system's, or what `TZ` says, as it is
    /// now.
    ///
    /// Errors: there is no such time zone as `TZ` says.
    pub fn access_times(self, times: Vec<AccessTime>) -> io::Result<Self> {
        self.access_times_by(times, SystemTime::now)
    }

    /// As [`access_times`](Self::access_times), by another clock.
    pub fn access_times_by(
        self,
        times: Vec<AccessTime>,
        clock: fn() -> SystemTime,
    ) -> io::Result<Self> {
        Ok(Access { hours: Some(Hours::new(times, clock)?), ..self })
    }

    /// Serves nobody while the load average of the last minute is `limit` or
    /// more. It is looked at once in a second at most, and then the kernel's may
    /// be five seconds old. xinetd's `max_load`.
    #[must_use]
    pub fn max_load(self, limit: f64) -> Self {
        Access { max_load: Some(MaxLoad::new(limit)), ..self }
    }

    /// How often each source may come: so many times in a second, which may be a
    /// fraction, and `burst` times at once, if it has not come for long enough.
    /// A token bucket. With a burst or a rate of 0 nobody may.
    ///
    /// 65,536 sources are remembered at most. If more come, those that came the
    /// longest time ago are forgotten, and may have a burst again.
    #[must_use]
    pub fn source_rate(self, per_second: f64, burst: u32) -> Self {
        Access { source_rate: Some(SourceRate::new(per_second, burst)), ..self }
    }

    /// How many requests each source may have in flight. xinetd's `per_source`.
    ///
    /// A place is free as soon as the handler is done, before the client sees the
    /// end. With [`Concurrency::Forking`](crate::Concurrency::Forking) it is so when
    /// the child has ended, which is a moment later.
    #[must_use]
    pub fn max_per_source(self, most: u32) -> Self {
        Access { per_source: Some(PerSource::new(most)), ..self }
    }

    /// Limits the clients that come in a second, over all sources, to `most`: a token
    /// bucket that holds as many and fills in a second. One more is refused, and so are
    /// all others for as long as `pause`. After it the bucket is full. xinetd's `cps`,
    /// which closes its sockets for the time of a pause.
    ///
    /// Clients that another rule refuses are not counted. With 0 all are refused.
    #[must_use]
    pub fn rate(self, most: u32, pause: Duration) -> Self {
        Access { rate: Some(Rate::new(most, pause)), ..self }
    }

    /// As [`rate`](Self::rate), and counts the clients of all
    /// [`Concurrency::Workers`](crate::Concurrency::Workers) together.
    ///
    /// # Errors
    ///
    /// The machine has no memory that they could share.
    pub fn rate_over_workers(self, most: u32, pause: Duration) -> io::Result<Self> {
        Ok(Access { rate: Some(Rate::shared(most, pause)?), ..self })
    }

    /// What refused clients of streams are sent before the end, the same whatever
    /// the rule was; of more than [`MAX_BANNER`] bytes the first ones. Nothing by
    /// default. A client that does not take it at once does not get it. xinetd's
    /// `banner_fail`.
    #[must_use]
    pub fn banner(self, banner: impl Into<Vec<u8>>) -> Self {
        let mut banner = banner.into();
        banner.truncate(MAX_BANNER);
        Access { banner, ..self }
    }

    /// Whether to serve this request. If so, and if there is a rule that counts
    /// requests in flight, the request keeps its place until it ends. If not, the
    /// client has been sent the banner, and may be let go of.
    ///
    /// It does not wait, and takes microseconds.
    ///
    /// Errors: the rule that refused it.
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

    /// Returns when the pause of [`rate`](Self::rate) ends, if there is one now.
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
        let is_in = |rules: &[Who]| rules.iter().any(|who| who.includes(client, peer));
        refuse_if(is_in(&self.deny), Refusal::Deny)?;
        let unknown = unix && self.needs_credentials && peer.is_none();
        refuse_if(unknown, Refusal::Peer)?;
        refuse_if(!self.allow.is_empty() && !is_in(&self.allow), Refusal::Allow)?;
        refuse_if(self.refuses_reset && request.is_reset(), Refusal::Reset)?;
        refuse_if(self.hours.as_ref().is_some_and(|hours| !hours.admit()), Refusal::Hours)?;
        if !(counts || self.max_load.is_some() || self.rate.is_some()) {
            return Ok(());
        }
        let (now, came_after) = (Instant::now(), request.earliest_arrival());
        let busy = self.max_load.as_ref().is_some_and(|max| !max.admit(now));
        refuse_if(busy, Refusal::Load)?;
        let mut place = None;
        if counts {
            let source = Source::of_client(client, peer).ok_or(Refusal::Peer)?;
            let often =
                self.source_rate.as_ref().is_some_and(|rate| !rate.admit(source, came_after, now));
            refuse_if(often, Refusal::SourceRate)?;
            if let Some(per_source) = &self.per_source {
                place = Some(per_source.take(source).ok_or(Refusal::PerSource)?);
            }
        }
        self.rate.as_ref().map_or(Ok(()), |rate| rate.admit(came_after, now))?;
        if let Some(place) = place {
            request.keep(place);
        }
        Ok(())
    }
}

fn refuse_if(refused: bool, by: Refusal) -> Result<(), Refusal> {
    if refused { Err(by) } else { Ok(()) }
}
