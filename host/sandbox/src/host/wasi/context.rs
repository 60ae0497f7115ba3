//! The context of `wasmtime-wasi` for one instance: variables, clocks and generators.

use rand::SeedableRng;
use rand::rngs::StdRng;
use std::time::{Duration, SystemTime};

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
    /// Those of `wasmtime-wasi` itself would be seeded by a generator of the thread, and all
    /// children of a fork have a copy of the same one.
    ///
    /// # Errors
    ///
    /// The system has no random numbers.
    pub(crate) fn renew(&mut self, env: &[(String, String)], most_random: usize) -> Result<()> {
        let (mut random, mut insecure, mut seed) = ([0; 32], [0; 32], [0; 16]);
        for bytes in [&mut random[..], &mut insecure, &mut seed] {
            getrandom::fill(bytes)
                .map_err(|error| format_err!("the host has no random numbers: {error}"))?;
        }
        let mut builder = builder();
        builder
            .envs(env)
            .secure_random(StdRng::from_seed(random))
            .insecure_random(StdRng::from_seed(insecure))
            .insecure_random_seed(u128::from_ne_bytes(seed))
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
