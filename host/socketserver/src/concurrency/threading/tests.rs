use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::ThreadId;

use super::*;
use crate::address::{Address, UnixAddress};
use crate::concurrency::post::SteppedDown;
use crate::hooks::DefaultHooks;
use crate::request::Request;
use crate::server_info::ServerInfo;

const WAIT: Duration = Duration::from_secs(20);

/// A post at which the test decides, and learns what the threads do.
struct TestPost {
    may_lead: Mutex<Receiver<bool>>,
    jobs: Mutex<Receiver<Job>>,
    events: Sender<Event>,
}

#[derive(Debug, PartialEq)]
enum Event {
    /// A thread asks to become a leader.
    Asks,
    /// A leader waits for a request.
    Leads(ThreadId),
    StepsDown,
}

impl Post for TestPost {
    fn promote(&self) -> Option<Term> {
        self.events.send(Event::Asks).unwrap();
        let may_lead = self.may_lead.lock().unwrap().recv_timeout(WAIT).unwrap_or(false);
        may_lead.then(Term::default)
    }

    fn step_down(&self, _term: Term) {
        self.events.send(Event::StepsDown).unwrap();
    }

    fn next_request(&self, _term: Term) -> Option<Job> {
        self.events.send(Event::Leads(thread::current().id())).unwrap();
        self.jobs.lock().unwrap().recv_timeout(WAIT).ok()
    }

    fn take_request(&self, _term: Term, _was_woken: bool) -> Result<Option<Job>, SteppedDown> {
        unreachable!("threads run no tasks")
    }

    fn watch_clients(&self, _epoll: &Arc<OwnedFd>) -> io::Result<()> {
        unreachable!("threads run no tasks")
    }

    fn forget_clients(&self, _epoll: &Arc<OwnedFd>) {
        unreachable!("threads run no tasks")
    }

    fn begin_wait(&self, _term: Term) -> bool {
        unreachable!("threads run no tasks")
    }

    fn end_wait(&self) {
        unreachable!("threads run no tasks")
    }
}

/// Returns a request that waits for its client.
fn job() -> (Job, UnixStream) {
    let handler = |request: &Request, _: &Address, _: &Arc<ServerInfo>| request.recv(1).map(drop);
    let app = Application { handler: Box::new(handler), hooks: Box::new(DefaultHooks) };
    let (client, socket) = UnixStream::pair().unwrap();
    let job = Job {
        app: Arc::new(app),
        request: Request::new(socket),
        client_address: Address::Unix(UnixAddress::Unnamed),
        server: Arc::new(ServerInfo::new(&"tcp://127.0.0.1:9999".parse().unwrap())),
    };
    (job, client)
}

#[test]
fn a_leader_that_waits_hands_its_leadership_to_a_parked_thread_if_there_is_one() {
    let (answers, may_lead) = channel();
    let (new_jobs, jobs) = channel();
    let (sender, events) = channel();
    let next = || events.recv_timeout(WAIT).unwrap();
    let post = Arc::new(TestPost {
        may_lead: Mutex::new(may_lead),
        jobs: Mutex::new(jobs),
        events: sender,
    });
    let control = Control::new(None, None, None).unwrap();
    let threads = RequestThreads::new(&Threading::new(), control).unwrap();
    threads.begin_run(post);
    let sockets = ServerSockets {
        listeners: &[],
        waiting: &std::collections::VecDeque::new(),
        pending: None,
    };
    let start = || {
        let (job, client) = job();
        threads.process_request(job, sockets);
        client
    };
    // Two threads at once. One parks, the other leads.
    let clients = [start(), start()];
    for (client, may_lead) in clients.into_iter().zip([false, true]) {
        answers.send(may_lead).unwrap();
        drop(client);
        assert_eq!(next(), Event::Asks);
    }
    let Event::Leads(first) = next() else { panic!("no leader") };
    let take = || {
        let (job, client) = job();
        threads.take_permit();
        new_jobs.send(job).unwrap();
        client
    };
    let first_client = take();
    let Event::Leads(second) = next() else { panic!("the leadership was not handed on") };
    assert_ne!(first, second);
    // No thread is parked.
    let second_client = take();
    assert_eq!(next(), Event::StepsDown);
    threads.end_run();
    drop((first_client, second_client));
    assert_eq!(threads.close(&job().0.app, Some(Instant::now() + WAIT)), 0);
}
