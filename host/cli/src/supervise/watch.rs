//! The metrics and the page of a supervisor. A thread answers, so that no client can hold the
//! supervisor. It reads the counters that the processes of handlers share with the supervisor.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result};

use super::description::{Descriptors, Received};
use super::events;
use super::handlers::HandlerStatus;
use super::process::Process;
use crate::monitor::view::{HandlerView, Source, SupervisorView, View};
use crate::monitor::{self, Door, Kind, MonitorSettings};
use crate::report::counters::{Counters, Failure, Totals};

/// The most failures and requests in flight of a handler that are shown.
const MAX_SHOWN: usize = 50;

/// The counters of processes that have ended.
#[derive(Clone)]
pub struct Past {
    totals: Totals,
    failures: Vec<Failure>,
}

impl Past {
    /// Returns those of no process.
    pub fn new() -> Past {
        Past { totals: Totals::zero(), failures: Vec::new() }
    }

    /// Adds those of a process that has ended.
    pub fn add(&mut self, process: &Process) {
        let Some(counters) = &process.counters else { return };
        let mut totals = counters.totals();
        totals.end();
        self.totals.add(&totals);
        self.failures.extend(counters.last_failures());
        sort(&mut self.failures);
    }
}

/// A handler, and what its processes count.
pub struct Watched {
    pub status: HandlerStatus,
    pub past: Past,
    /// The counters of all processes that run, that of the current one first.
    pub live: Vec<Arc<Counters>>,
}

impl Watched {
    /// Returns true if a process serves.
    pub fn serves(&self) -> bool {
        self.status.state == "serving"
    }

    fn view(&self, since: u64) -> HandlerView {
        let HandlerStatus { name, state, generation, pid, seconds, restarts, .. } = &self.status;
        let HandlerStatus { addresses, certificates, last_failure, .. } = &self.status;
        let mut view = HandlerView {
            name: name.clone(),
            state: state.clone(),
            generation: *generation,
            pid: *pid,
            seconds: seconds + if pid.is_some() { since } else { 0 },
            restarts: *restarts,
            last_failure: last_failure.clone(),
            addresses: addresses.clone(),
            certificates: certificates.clone(),
            capacity: self.live.first().map_or(0, |counters| counters.capacity()),
            totals: self.past.totals.clone(),
            in_flight: Vec::new(),
            failures: self.past.failures.clone(),
        };
        self.live.iter().for_each(|counters| view.add(counters));
        view.in_flight.sort_by_key(|one| std::cmp::Reverse(one.microseconds));
        view.in_flight.truncate(MAX_SHOWN);
        sort(&mut view.failures);
        view
    }
}

/// All handlers.
#[derive(Default)]
pub struct Shown {
    pub handlers: Vec<Watched>,
    /// True if each handler serves.
    pub ready: bool,
    /// True from the signal on that ends the supervisor.
    pub draining: bool,
}

/// The thread that answers, as the supervisor sees it.
pub struct Monitor {
    doors: Arc<Vec<Door>>,
    board: Arc<Mutex<Board>>,
    supervisor: SupervisorView,
}

/// The last state that the supervisor has shown.
struct Board {
    shown: Shown,
    supervisor: SupervisorView,
    at: Instant,
}

impl Monitor {
    /// Binds the sockets, and starts the thread.
    ///
    /// # Errors
    ///
    /// A socket cannot be bound, or the thread cannot be started.
    pub fn start(settings: &MonitorSettings) -> Result<Monitor> {
        Monitor::start_at(settings.bind()?)
    }

    /// Starts the thread for sockets that listen already.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn start_at(doors: Vec<Door>) -> Result<Monitor> {
        let doors = Arc::new(doors);
        let supervisor =
            SupervisorView { last_reload_succeeded: true, ..SupervisorView::default() };
        let board =
            Board { shown: Shown::default(), supervisor: supervisor.clone(), at: Instant::now() };
        let board = Arc::new(Mutex::new(board));
        let source = SharedBoard(Arc::clone(&board));
        let thread = thread::Builder::new().name("monitor".to_owned());
        let shared = Arc::clone(&doors);
        // The thread takes no signals. One that it took just before another program takes over
        // would be lost.
        let before = events::block().context("cannot handle signals")?;
        let started = thread.spawn(move || {
            if let Err(error) = monitor::run(&shared, &source, None) {
                tracing::error!("the metrics cannot be shown any more: {error}");
            }
        });
        before.thread_set_mask().context("cannot handle signals")?;
        started.context("cannot start the thread of the metrics")?;
        Ok(Monitor { doors, board, supervisor })
    }

    /// Describes the sockets to the program that takes over from this one.
    pub fn hand_over<'a>(&'a self, fds: &mut Descriptors<'a>) -> Vec<(usize, Kind)> {
        self.doors.iter().map(|door| (fds.add(door.as_fd()), door.kind())).collect()
    }

    /// Returns the sockets that are described.
    ///
    /// # Errors
    ///
    /// The description is wrong.
    pub fn take_over(doors: Vec<(usize, Kind)>, fds: &mut Received) -> Result<Vec<Door>> {
        let door = |(fd, kind)| Ok(Door::of_socket(fds.take(fd)?, kind));
        doors.into_iter().map(door).collect()
    }

    /// Takes note that the configuration was taken over, for the first time or at a reload.
    pub fn loaded(&mut self, is_reload: bool, succeeded: bool) {
        let up = &mut self.supervisor;
        up.reloads += u64::from(is_reload);
        up.failed_reloads += u64::from(!succeeded);
        up.last_reload_succeeded = succeeded;
        if succeeded {
            let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            up.last_reload = since_1970.map_or(0, |time| time.as_secs());
        }
    }

    /// Shows this from now on.
    pub fn show(&mut self, shown: Shown, ending: usize) {
        self.supervisor.ending = ending;
        let (supervisor, at) = (self.supervisor.clone(), Instant::now());
        let board = Board { shown, supervisor, at };
        *self.board.lock().unwrap_or_else(PoisonError::into_inner) = board;
    }
}

/// The board, for the thread.
struct SharedBoard(Arc<Mutex<Board>>);

impl Source for SharedBoard {
    fn look(&self) -> View {
        let board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Board { shown: Shown { handlers, ready, draining }, supervisor, at } = &*board;
        let since = at.elapsed().as_secs();
        View {
            version: env!("CARGO_PKG_VERSION"),
            ready: *ready,
            draining: *draining,
            handlers: handlers.iter().map(|handler| handler.view(since)).collect(),
            supervisor: Some(supervisor.clone()),
        }
    }
}

fn sort(failures: &mut Vec<Failure>) {
    failures.sort_by_key(|failure| std::cmp::Reverse((failure.time, failure.number)));
    failures.truncate(MAX_SHOWN);
}
