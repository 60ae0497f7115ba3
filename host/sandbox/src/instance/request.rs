//! One request, in a new instance: `setup`, `handle` and `finish`, or `run` of a program.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use socketserver::{
    Address, Endpoint, HandlerError, Reason, Request, RequestHandler, ServerInfo, SocketType,
    Usage, block_on, combine_results,
};
use wasmtime_wasi::I32Exit;

use crate::host::state::State;
use crate::instance::exports::{Exports, Functions, GuestResult, Run};
use crate::instance::failure::{Step, call_failure, guest_error};
use crate::instance::handler::{Arrived, ComponentHandler};
use crate::instance::program::run_program;
use crate::instance::store::Instantiated;
use crate::limits::cpu::{Stopwatch, TaskClock};
use crate::policy::OnKill;
use crate::world::World;

/// The end of a request that did not end well.
pub(super) enum Failure {
    /// The guest called `exit`. Nothing of it is called again.
    Exited(Step, i32),
    /// The guest trapped, or the host ended it. Nothing of it is called again.
    Killed(HandlerError),
    /// The guest returned an error.
    Returned(HandlerError),
}

impl From<HandlerError> for Failure {
    fn from(error: HandlerError) -> Self {
        Failure::Returned(error)
    }
}

impl RequestHandler for ComponentHandler {
    /// Checks that the component is for sockets of that type. A program is for all.
    fn check_endpoint(&self, endpoint: &Endpoint) -> Result<(), String> {
        self.calls(endpoint.socket_type()).map(drop)
    }

    /// Runs the request in Python's order: `handle` after `setup`, `finish` after `handle`
    /// even if that returned an error. After a trap, an exit or the end by a limit, nothing
    /// of the instance is called again. An exit in `finish` takes the place of an error of
    /// `handle`.
    fn finish_request(
        &self,
        request: &Request,
        client_address: &Address,
        server: &Arc<ServerInfo>,
    ) -> Result<(), HandlerError> {
        block_on(self.answer(Arrived { request, client_address, task_clock: None }, server))
    }

    fn finish_request_async<'a>(
        &'a self,
        request: &'a Request,
        client_address: &'a Address,
        server: &'a Arc<ServerInfo>,
    ) -> Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send + 'a>> {
        Box::pin(async move {
            let clock = Arc::new(TaskClock::new(request));
            let arrived = Arrived { request, client_address, task_clock: Some(&clock) };
            let answer = pin!(self.answer(arrived, server));
            clock.measure(answer).await
        })
    }
}

/// The functions that are called for a request.
#[derive(Clone, Copy)]
enum Calls<'a> {
    Handler(&'a Functions),
    Program(&'a Run),
}

impl ComponentHandler {
    async fn answer(
        &self,
        arrived: Arrived<'_>,
        server: &Arc<ServerInfo>,
    ) -> Result<(), HandlerError> {
        let Arrived { request, client_address, .. } = arrived;
        let no_ticker = |error| HandlerError::new(Reason::NoTicker, error);
        self.engine.start_ticking().map_err(no_ticker)?;
        request.set_idle_timeout(Some(self.policy.idle_timeout));
        request.set_wall_time(Some(self.policy.wall_time));
        request.set_max_received(Some(self.policy.max_received));
        request.set_max_sent(Some(self.policy.max_sent));
        let calls = self.calls(request.socket_type());
        let calls = calls.map_err(|why| HandlerError::new(Reason::WrongWorld, why))?;
        match self.run(calls, arrived, server).await {
            Ok(()) => Ok(()),
            Err(Failure::Returned(error)) => Err(error),
            Err(Failure::Killed(error)) => {
                if self.policy.on_kill == OnKill::Reset {
                    request.reset_on_close();
                }
                Err(error)
            }
            // Python's SystemExit: no error, and no line in the log.
            Err(Failure::Exited(step, status)) => {
                let (handler, peer) = (self.name(), client_address.to_string());
                let failed = status != 0;
                tracing::debug!(handler, peer, failed, "{} called exit", step.as_str());
                Ok(())
            }
        }
    }

    async fn run(
        &self,
        calls: Calls<'_>,
        arrived: Arrived<'_>,
        server: &Arc<ServerInfo>,
    ) -> Result<(), Failure> {
        let Arrived { request, client_address, task_clock } = arrived;
        // The clock of a task begins with its request.
        let measured = self.cpu_times.map(|how| (how, Stopwatch::start()));
        let mut instantiated = self.instance_for(arrived).await.map_err(Failure::Killed)?;
        if let Some(counters) = &self.counters {
            counters.instance_used();
        }
        let state = instantiated.store.data_mut();
        state.begin_request(client_address.clone(), Arc::clone(server));
        let result = match calls {
            Calls::Handler(functions) => {
                call_steps(functions, &mut instantiated, request, client_address).await
            }
            Calls::Program(run) => run_program(run, &mut instantiated, client_address).await,
        };
        if let Some((how, stopwatch)) = measured {
            let of_thread = || Duration::from_nanos(stopwatch.measure(how));
            let cpu_time = task_clock.map_or_else(of_thread, |clock| clock.time(how));
            let memory = instantiated.store.data().memory.used() as u64;
            request.set_usage(Usage { cpu_time, memory });
        }
        if request.is_last_of_process() {
            instantiated.leave_to_kernel();
        }
        result
    }

    /// Returns what is called for sockets of that type, or the reason why this handler cannot
    /// serve them.
    fn calls(&self, socket_type: SocketType) -> Result<Calls<'_>, String> {
        let (stream, datagram) = match &self.exports {
            Exports::Program(run) => return Ok(Calls::Program(run)),
            Exports::Handler { stream, datagram } => (stream.as_ref(), datagram.as_ref()),
        };
        let functions = match socket_type {
            SocketType::Stream => stream,
            SocketType::Dgram => datagram,
        };
        if let Some(functions) = functions {
            return Ok(Calls::Handler(functions));
        }
        let world = World::for_socket_type(socket_type);
        let others = [stream.map(|_| World::Stream), datagram.map(|_| World::Datagram)];
        let targets: Vec<String> =
            others.into_iter().flatten().map(|world| format!("`{world}`")).collect();
        let schemes: Vec<&str> = others.into_iter().flatten().map(World::schemes).collect();
        Err(format!(
            "the handler `{}` targets {}, and such a socket needs `{world}`: bind {} for it, or serve another handler",
            self.name(),
            targets.join(" and "),
            schemes.join(" or ")
        ))
    }
}

/// Calls the functions of the guest, each if the earlier ones allow it.
async fn call_steps(
    functions: &Functions,
    instantiated: &mut Instantiated,
    request: &Request,
    client_address: &Address,
) -> Result<(), Failure> {
    let result = functions.setup(instantiated, request, client_address).await;
    step_result(Step::Setup, result, instantiated.store.data())??;
    let result = functions.handle(instantiated).await;
    let handle = step_result(Step::Handle, result, instantiated.store.data())?;
    let result = functions.finish(instantiated).await;
    let finish = step_result(Step::Finish, result, instantiated.store.data())?;
    Ok(combine_results(handle, finish)?)
}

/// Tells the end of a guest (the outer error) from an error that the guest returned (the
/// inner error), after which it may go on.
fn step_result(
    step: Step,
    result: wasmtime::Result<GuestResult>,
    state: &State,
) -> Result<Result<(), HandlerError>, Failure> {
    match result {
        Ok((Ok(()),)) => Ok(Ok(())),
        Ok((Err(message),)) => Ok(Err(guest_error(step, &message, state))),
        Err(error) => Err(match error.downcast_ref::<I32Exit>() {
            Some(I32Exit(status)) => Failure::Exited(step, *status),
            None => Failure::Killed(call_failure(step, &error, state)),
        }),
    }
}
