//! SIGINT and SIGTERM.

use std::io;
use std::process;
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use socketserver::ShutdownHandle;

/// Ends the server at the first signal: the loop now, and the process after
/// `grace` whatever still runs. A second signal ends the process at once, with
/// the exit code that a shell gives to a signal.
pub fn end_at_signal(server: ShutdownHandle, grace: Duration) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut ending = false;
        for signal in signals.forever() {
            if ending {
                process::exit(128 + signal);
            }
            ending = true;
            tracing::info!(
                "ending: requests in flight have {grace:?} to finish; another signal ends them now"
            );
            server.request_shutdown();
            let timer = thread::Builder::new().name("grace".to_owned()).spawn(move || {
                thread::sleep(grace);
                tracing::warn!("requests were still in flight after {grace:?}; they are cut off");
                process::exit(0);
            });
            if let Err(error) = timer {
                tracing::error!("ending now, for there is no thread to wait in: {error}");
                process::exit(0);
            }
        }
    })?;
    Ok(())
}
