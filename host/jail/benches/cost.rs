//! The cost of the jail for a forked child: the median of a thousand children, for entering and
//! for the whole child, with and without the jail. In the last lines the parent is restricted
//! too, so that its children inherit most walls.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss)]

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::time::{Duration, Instant};

use socketserver_jail::{
    Descriptors, Jail, JailError, JailMode, Report, RequestKind, Role, ServedRequest,
};

const CHILDREN: usize = 1000;

/// The request of a child.
const CONNECTION: ServedRequest = ServedRequest { kind: RequestKind::Connection, socket: 0 };

fn main() {
    println!("{}", Jail::probe());
    // A restricted parent cannot create a pipe.
    let mut pipe = std::io::pipe().unwrap();
    let [request, worker] = [Role::Request, Role::Worker]
        .map(|kind| Jail::new(JailMode::Require).prepare(kind).unwrap());
    let free = Jail::new(JailMode::Off).prepare(Role::Request).unwrap();
    let all = Descriptors::All;
    let mut print = |what: &str, enter: &dyn Fn() -> Result<Report, JailError>| {
        let (entering, whole) = measure(&mut pipe, enter);
        println!("{what:<40} entering {entering:>10.1?}, the child in all {whole:>10.1?}");
    };
    print("no jail", &|| free.enter(None, &all));
    print("a worker", &|| worker.enter(None, &all));
    print("a worker, without seccomp", &|| worker.enter_without_seccomp(&all));
    print("a request, all walls its own", &|| request.enter(Some(CONNECTION), &all));
    print("the same, without seccomp", &|| request.enter_without_seccomp(&all));
    print("no jail", &|| free.enter(None, &all));
    request.restrict_parent().unwrap();
    print("a request, with a restricted parent", &|| request.enter(Some(CONNECTION), &all));
    print("no jail, with a restricted parent", &|| free.enter(None, &all));
}

/// Returns the median times of entering, and of a child from its fork to its end.
fn measure(
    (read, write): &mut (PipeReader, PipeWriter),
    enter: &dyn Fn() -> Result<Report, JailError>,
) -> (Duration, Duration) {
    let (mut entering, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..CHILDREN {
        let begun = Instant::now();
        // SAFETY: the process has one thread.
        match unsafe { libc::fork() } {
            0 => {
                let begun = Instant::now();
                let entered = enter();
                let took = u64::try_from(begun.elapsed().as_nanos()).unwrap();
                let _ = write.write_all(&took.to_ne_bytes());
                // SAFETY: any status is valid.
                unsafe { libc::_exit(i32::from(entered.is_err())) }
            }
            child => {
                entering.push(read_duration(read));
                let mut status = 1;
                // SAFETY: it is a child of this process, and the pointer is valid.
                unsafe { libc::waitpid(child, &raw mut status, 0) };
                assert_eq!(status, 0);
                whole.push(begun.elapsed());
            }
        }
    }
    (median(entering), median(whole))
}

fn read_duration(read: &mut PipeReader) -> Duration {
    let mut took = [0; 8];
    read.read_exact(&mut took).unwrap();
    Duration::from_nanos(u64::from_ne_bytes(took))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
