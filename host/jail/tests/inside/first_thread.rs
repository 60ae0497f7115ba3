//! The first thread of a process whose second thread runs the case.

use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use socketserver_jail::{Descriptors, JailError, Prepared, Report};

/// A jail that the first thread shall enter with these descriptors, and the way of its answer.
type Entrance = (&'static Prepared, Descriptors<'static>, Sender<Result<Report, JailError>>);

static FIRST_THREAD: OnceLock<Sender<Entrance>> = OnceLock::new();

/// Runs `case` in a second thread, while this one waits for the jail that it shall enter.
pub(super) fn wait<R: Send + 'static>(case: impl FnOnce() -> R + Send + 'static) -> R {
    let (sender, entrances) = channel();
    FIRST_THREAD.set(sender).unwrap();
    let case = thread::spawn(case);
    let (prepared, descriptors, answers) = entrances.recv().unwrap();
    let _ = answers.send(prepared.enter(None, &descriptors));
    case.join().unwrap()
}

/// Has the first thread enter the jail.
pub(super) fn enter(
    prepared: &'static Prepared,
    descriptors: &Descriptors<'_>,
) -> Result<Report, JailError> {
    let descriptors = match *descriptors {
        Descriptors::All => Descriptors::All,
        Descriptors::Except(keep) => Descriptors::Except(keep.to_vec().leak()),
        Descriptors::Only(keep) => Descriptors::Only(keep.to_vec().leak()),
    };
    let (answers, answer) = channel();
    FIRST_THREAD.get().unwrap().send((prepared, descriptors, answers)).unwrap();
    answer.recv().unwrap()
}
