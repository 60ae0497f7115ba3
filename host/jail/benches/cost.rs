//! What entering the jail costs a forked child: the median of a thousand, and
//! that of the whole child with the jail and without.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss)]

use std::io::{PipeReader, Read, Write};
use std::time::{Duration, Instant};

use socketserver_jail::{Descriptors, Jail, JailError, Kind, Mode, Report};

const CHILDREN: usize = 1000;

fn main() {
    println!("{}", Jail::probe());
    for kind in [Kind::Request, Kind::Worker] {
        let jails = [Mode::Off, Mode::Require].map(|mode| Jail::new(mode).prepare(kind).unwrap());
        let [free, jailed] = jails.each_ref().map(|jail| measure(|| jail.enter(&Descriptors::All)));
        let open = measure(|| jails[1].enter_without_seccomp(&Descriptors::All));
        println!(
            "{kind:?}: entering {:?}, without seccomp {:?}; a child with it {:?}, without {:?}",
            jailed.0, open.0, jailed.1, free.1
        );
    }
}

/// The medians of entering, and of a child from its fork to its end.
fn measure(enter: impl Fn() -> Result<Report, JailError>) -> (Duration, Duration) {
    let (mut entering, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..CHILDREN {
        let begun = Instant::now();
        let (mut read, mut write) = std::io::pipe().unwrap();
        // SAFETY: there is one thread.
        match unsafe { libc::fork() } {
            0 => {
                let begun = Instant::now();
                let entered = enter();
                let took = u64::try_from(begun.elapsed().as_nanos()).unwrap();
                let _ = write.write_all(&took.to_ne_bytes());
                // SAFETY: it takes any number.
                unsafe { libc::_exit(i32::from(entered.is_err())) }
            }
            child => {
                drop(write);
                entering.push(told(&mut read));
                let mut status = 1;
                // SAFETY: it is a child of this process.
                unsafe { libc::waitpid(child, &raw mut status, 0) };
                assert_eq!(status, 0);
                whole.push(begun.elapsed());
            }
        }
    }
    (median(entering), median(whole))
}

fn told(read: &mut PipeReader) -> Duration {
    let mut took = [0; 8];
    read.read_exact(&mut took).unwrap();
    Duration::from_nanos(u64::from_ne_bytes(took))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
