//! The rules about clients.

use std::io;
use std::time::Duration;

use socketserver::access::{Access, AccessTime, ClientSet};

use crate::values::access::Banner;

/// The rules about clients. By default the server admits all.
#[derive(Debug, Clone, Default)]
pub struct AccessSettings {
    /// The clients that are served. If there are none, the others are served too.
    pub allow: Vec<ClientSet>,
    /// The clients that are refused.
    pub deny: Vec<ClientSet>,
    /// The times of the day at which clients are served, if there are any.
    pub access_times: Vec<AccessTime>,
    /// The load average from which on all clients are refused.
    pub max_load: Option<f64>,
    /// The requests of each source in a second, and the clients that may come at once.
    pub source_rate: Option<(f64, u32)>,
    /// The requests of each source at once.
    pub max_per_source: Option<u32>,
    /// The clients in a second, and the pause after more.
    pub cps: Option<(u32, Duration)>,
    /// The text that refused clients receive.
    pub banner: Option<Banner>,
}

impl AccessSettings {
    /// Returns the rules. With `workers`, the rules share between processes what they can.
    ///
    /// # Errors
    ///
    /// The time zone that `TZ` names is not known, or there is no memory to share.
    pub fn rules(&self, workers: bool) -> io::Result<Access> {
        // A client that has reset its connection would cost an instance for nothing.
        let mut access = Access::new().refuse_reset();
        access = self.allow.iter().fold(access, |access, who| access.allow(*who));
        access = self.deny.iter().fold(access, |access, who| access.deny(*who));
        if !self.access_times.is_empty() {
            access = access.access_times(self.access_times.clone())?;
        }
        if let Some(limit) = self.max_load {
            access = access.max_load(limit);
        }
        if let Some((per_second, burst)) = self.source_rate {
            access = access.source_rate(per_second, burst);
        }
        if let Some(most) = self.max_per_source {
            access = access.max_per_source(most);
        }
        if let Some((most, pause)) = self.cps {
            access = if workers {
                access.rate_over_workers(most, pause)?
            } else {
                access.rate(most, pause)
            };
        }
        if let Some(Banner(text)) = &self.banner {
            access = access.banner(text.as_slice());
        }
        Ok(access)
    }
}
