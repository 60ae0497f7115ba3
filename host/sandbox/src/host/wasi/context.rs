//! The context of `wasmtime-wasi` for one instance: clocks and generators.

use std::time::{Duration, SystemTime};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wasmtime::Result;
use wasmtime::error::format_err;
use wasmtime_wasi::{HostWallClock, WasiCtx, WasiCtxBuilder};

/// The context of an instance. It is made when a call needs it, or when a request begins, for
/// a component that needs it to have something in it.
#[derive(Default)]
pub(crate) struct Context(Option<Box<WasiCtx>>);

impl Context {
    /// Makes a context with new generators of random numbers.
    ///
    /// `wasmtime-wasi` would seed its own by a generator of the thread, of which all children of
    /// a fork have the same copy.
    ///
    /// # Errors
    ///
    /// The system has no random numbers.
    pub(crate) fn renew(&mut self, most_random: usize) -> Result<()> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)
            .map_err(|error| format_err!("the host has no random numbers: {error}"))?;
        let mut random = StdRng::from_seed(seed);
        let insecure = StdRng::from_rng(&mut random);
        let mut insecure_seed = [0; 16];
        random.fill_bytes(&mut insecure_seed);
        let mut builder = builder();
        builder
            .secure_random(random)
            .insecure_random(insecure)
            .insecure_random_seed(u128::from_ne_bytes(insecure_seed))
            .max_random_size(most_random as u64);
        self.0 = Some(Box::new(builder.build()));
        Ok(())
    }

    /// Returns the context.
    pub(crate) fn get(&mut self) -> &mut WasiCtx {
        self.0.get_or_insert_with(|| Box::new(builder().build()))
    }
}

fn builder() -> WasiCtxBuilder {
    let mut builder = WasiCtxBuilder::new();
    builder.wall_clock(WallClock);
    builder
}

/// The time since 1970. That of `wasmtime-wasi` panics before 1970.
struct WallClock;

impl HostWallClock for WallClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}
