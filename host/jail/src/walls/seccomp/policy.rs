//! Which process may make which system calls.

use std::collections::BTreeMap;

use libc::c_long;

use super::program::{Action, Condition};
use super::rules;
use crate::config::{BrokeredSockets, Jail, RequestKind, Role};

/// The children that install a filter of their own, because the filter that they share
/// with their parent allows more than they may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ChildFilters {
    /// No child.
    None,
    /// Children for datagrams: they share the socket that their parent receives from.
    Datagrams,
    /// All children.
    All,
}

impl ChildFilters {
    /// Returns what the children of this jail need.
    pub(super) fn needed(jail: &Jail) -> Self {
        // A child that opens files can have new descriptors, and among them pidfds of its
        // parent and of the client (`pidfd_open`, `SO_PEERPIDFD`). It could kill these
        // processes, because the shared filter lets the parent kill its children.
        if jail.opens_files() {
            return ChildFilters::All;
        }
        // A child that gets sockets can have new descriptors, too. The shared filter has the
        // `sendmsg` by which a child comes to the broker.
        if jail.brokered.is_some() {
            return ChildFilters::All;
        }
        // The shared filter has the `sendmsg` of replies over UDP. A child that has a Unix
        // socket must not have it.
        let shares_sendmsg = jail.unix_sockets && jail.sets_source_address(Role::Request);
        match (jail.transports.has_streams(), jail.transports.has_datagrams()) {
            (true, false) => ChildFilters::None,
            (true, true) if !shares_sendmsg => ChildFilters::Datagrams,
            (_, _) => ChildFilters::All,
        }
    }

    /// Returns whether a child for this request, or for none, installs a filter.
    pub(crate) fn includes(self, request: Option<RequestKind>) -> bool {
        match self {
            ChildFilters::None => false,
            ChildFilters::Datagrams => request.is_some_and(RequestKind::is_datagram),
            ChildFilters::All => true,
        }
    }
}

/// Returns the rules for a process with this role, which serves a request of this kind.
/// Every other call fails with `EPERM`. Each call has one rule, and they are sorted.
pub(super) fn for_process(
    jail: &Jail,
    role: Role,
    request: Option<RequestKind>,
) -> Vec<(c_long, Action)> {
    if role == Role::Broker {
        return for_broker(jail);
    }
    let (is_worker, serves) = (role == Role::Worker, role != Role::Compiler);
    let is_connection = request == Some(RequestKind::Connection);
    let is_for_request = role == Role::Request && request.is_some();
    let brokered = jail.brokered.filter(|_| is_worker || is_for_request);
    // A process for a datagram has the socket that all requests share, beside its own.
    let shares_socket =
        is_for_request && brokered.is_some() && request.is_some_and(RequestKind::is_datagram);
    let (sends_datagrams, sets_source_address) = match request {
        Some(request) => (
            request.is_datagram(),
            request == RequestKind::UdpDatagram && jail.sets_source_address(role),
        ),
        None => (
            is_worker && jail.transports.has_datagrams(),
            is_worker && jail.sets_source_address(role),
        ),
    };
    let all = |calls: &[c_long], action| -> Vec<(c_long, Action)> {
        calls.iter().map(|call| (*call, action)).collect()
    };
    let mut rules = all(rules::ALWAYS, Action::Allow);
    let conditions = rules::ALWAYS_WITH_CONDITION.iter();
    rules.extend(conditions.map(|(call, condition)| (*call, Action::AllowIf(*condition))));
    if serves {
        rules.extend(all(rules::SERVING, Action::Allow));
        // Connections have no use for an address.
        let sendto = match (sends_datagrams, shares_socket) {
            (true, true) => Action::AllowIf(Condition::OwnSocketOrNull { argument: 4 }),
            (true, false) => Action::Allow,
            (false, _) => Action::AllowIf(Condition::Null { argument: 4 }),
        };
        rules.push((libc::SYS_sendto, sendto));
        if sets_source_address {
            // A process that gets sockets may have Unix sockets.
            let replies =
                if shares_socket { Condition::OwnSocket } else { rules::NO_STANDARD_STREAM };
            rules.push((libc::SYS_sendmsg, Action::AllowIf(replies)));
        }
    } else {
        rules.push((libc::SYS_read, Action::Allow));
    }
    // The calls on sockets that are the process's own.
    let on_own = if shares_socket { Action::AllowElsewhere(None) } else { Action::Allow };
    if is_worker || is_connection || shares_socket {
        rules.extend(all(rules::CONNECTION, on_own));
    }
    let receives_messages = match role {
        Role::Worker => jail.receives_messages(),
        _ => is_connection && jail.receives_descriptors,
    };
    if receives_messages || brokered.is_some() {
        rules.push((libc::SYS_recvmsg, on_own));
    }
    if is_worker {
        rules.extend(all(rules::WORKER, Action::Allow));
        rules.extend(rules::THREADS);
    }
    if let Some(BrokeredSockets { options }) = brokered {
        rules.push((libc::SYS_accept4, on_own));
        rules.retain(|(call, _)| *call != libc::SYS_setsockopt);
        let condition = Condition::SocketOptions(options);
        let action = match on_own {
            Action::AllowElsewhere(_) => Action::AllowElsewhere(Some(condition)),
            _ => Action::AllowIf(condition),
        };
        rules.push((libc::SYS_setsockopt, action));
    }
    let sends_files = jail.opens_files() && (is_worker || is_connection || shares_socket);
    if sends_files {
        rules.extend(all(rules::SENDING_FILES, on_own));
    }
    let ioctls: &[u32] = match (is_worker, sends_files) {
        (true, true) => &[rules::PAGEMAP_SCAN, rules::FIONBIO],
        (true, false) => &[rules::PAGEMAP_SCAN],
        (false, true) => &[rules::FIONBIO],
        (false, false) => &[],
    };
    if !ioctls.is_empty() {
        let condition = Condition::OneOf { argument: 1, values: ioctls };
        let action = match on_own {
            Action::AllowElsewhere(_) => Action::AllowElsewhere(Some(condition)),
            _ => Action::AllowIf(condition),
        };
        rules.push((libc::SYS_ioctl, action));
    }
    if jail.opens_files() {
        rules.extend(all(rules::READING_FILES, Action::Allow));
    }
    if !jail.read_write.is_empty() {
        rules.extend(all(rules::CHANGING_FILES, Action::Allow));
    }
    rules.extend(all(rules::KILLING, Action::KillProcess));
    rules.sort_by_key(|(call, _)| *call);
    rules.dedup();
    rules
}

/// Returns the rules for a process that opens sockets for others.
fn for_broker(jail: &Jail) -> Vec<(c_long, Action)> {
    let mut calls: BTreeMap<c_long, Action> = BTreeMap::new();
    calls.extend(rules::ALWAYS.iter().map(|call| (*call, Action::Allow)));
    let conditions = rules::ALWAYS_WITH_CONDITION.iter().chain(rules::BROKER_WITH_CONDITION);
    calls.extend(conditions.map(|(call, condition)| (*call, Action::AllowIf(*condition))));
    calls.extend(rules::BROKER.iter().map(|call| (*call, Action::Allow)));
    calls.extend(rules::THREADS.iter().copied());
    if jail.opens_files() {
        calls.extend(rules::READING_FILES.iter().map(|call| (*call, Action::Allow)));
        calls.extend(rules::LOOKING_UP.iter().map(|call| (*call, Action::Allow)));
    }
    calls.extend(rules::KILLING.iter().map(|call| (*call, Action::KillProcess)));
    calls.into_iter().collect()
}

/// Returns the rules that the process that forks shares with its children: what a process
/// for one request may do, and what else parent and children need. `child_filters` are the
/// children that install a filter of their own on top.
pub(super) fn for_parent_and_children(
    jail: &Jail,
    child_filters: ChildFilters,
) -> Vec<(c_long, Action)> {
    let mut shared = BTreeMap::new();
    // The datagrams come last: their rule for `sendto` includes that of connections.
    let kinds = [RequestKind::Connection, RequestKind::UnixDatagram, RequestKind::UdpDatagram];
    for kind in kinds {
        let is_served = if kind.is_datagram() {
            jail.transports.has_datagrams()
        } else {
            jail.transports.has_streams()
        };
        if is_served {
            let rules = for_process(jail, Role::Request, Some(kind)).into_iter();
            shared.extend(rules.map(|(call, action)| (call, for_all_sockets(action))));
        }
    }
    // The rule compares with the id of one process, and here are many. So `abort` ends a
    // child by its last resort, an illegal instruction.
    shared.remove(&libc::SYS_tgkill);
    shared.extend(rules::PARENT.iter().chain(rules::ENTERING).copied());
    if jail.receives_messages() {
        shared.insert(libc::SYS_recvmsg, Action::Allow);
    }
    if jail.receives_descriptors {
        // The parent resets SO_LINGER on a received descriptor before it closes it.
        shared.entry(libc::SYS_setsockopt).or_insert(Action::AllowIf(rules::LINGER));
    }
    if jail.user.is_some() {
        shared.extend(rules::CHANGING_USER.iter().map(|call| (*call, Action::Allow)));
    }
    if jail.brokered.is_some() {
        // A child comes to the broker before it enters.
        shared.insert(libc::SYS_socketpair, Action::AllowIf(rules::UNIX_SOCKETS));
        shared.insert(libc::SYS_sendmsg, Action::AllowIf(rules::NO_STANDARD_STREAM));
    }
    if child_filters != ChildFilters::None {
        shared.insert(libc::SYS_seccomp, Action::AllowIf(rules::SET_FILTER));
    }
    if child_filters == ChildFilters::All {
        // The filter of each child has the rule with its own id.
        shared.insert(libc::SYS_tgkill, Action::Allow);
    }
    shared.into_iter().collect()
}

/// Returns the rules of a filter on top of the shared one, in a child for this request, or for
/// none. Both together allow what the rules of the child allow, as far as the shared filter does.
/// Each child installs it anew, and most of the rules are the same in both.
pub(super) fn on_top_of_shared(jail: &Jail, request: Option<RequestKind>) -> Vec<(c_long, Action)> {
    let own = for_process(jail, Role::Request, request);
    // The rules for some of the children are the same, or stricter.
    let shared: BTreeMap<_, _> =
        for_parent_and_children(jail, ChildFilters::All).into_iter().collect();
    let unnamed = Action::Errno(libc::EPERM);
    let mut rules: BTreeMap<_, _> = shared.keys().map(|call| (*call, unnamed)).collect();
    rules.extend(own);
    rules.retain(|call, action| {
        let below = shared.get(call).unwrap_or(&unnamed);
        *action != Action::Allow && action != below
    });
    rules.into_iter().collect()
}

/// Returns the rule of a process for one request without the descriptor of that request, which
/// each child has in a filter of its own.
fn for_all_sockets(action: Action) -> Action {
    match action {
        Action::AllowElsewhere(Some(condition)) => Action::AllowIf(condition),
        Action::AllowIf(Condition::OwnSocket) => Action::AllowIf(rules::NO_STANDARD_STREAM),
        Action::AllowElsewhere(None) | Action::AllowIf(Condition::OwnSocketOrNull { .. }) => {
            Action::Allow
        }
        _ => action,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{JailMode, Transports};

    #[test]
    fn each_call_has_one_rule() {
        let brokered = Some(BrokeredSockets { options: &[(1, 9)] });
        for role in [Role::Request, Role::Worker, Role::Compiler, Role::Broker] {
            for transports in [Transports::Streams, Transports::Datagrams, Transports::Both] {
                for paths in [vec![], vec!["/".into()]] {
                    let (read_only, read_write) = (paths.clone(), paths);
                    let jail =
                        Jail { transports, read_only, read_write, ..Jail::new(JailMode::Require) };
                    let requests = [None].into_iter().chain(RequestKind::ALL.map(Some));
                    for (request, brokered) in
                        requests.flat_map(|one| [(one, None), (one, brokered)])
                    {
                        let jail = Jail { brokered, ..jail.clone() };
                        for pair in for_process(&jail, role, request).windows(2) {
                            assert!(pair[0].0 < pair[1].0, "{pair:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_process_with_a_broker_has_no_call_that_opens_or_names_an_address() {
        let brokered = Some(BrokeredSockets { options: &[(1, 9)] });
        let jail = Jail { brokered, ..Jail::new(JailMode::Require) };
        for (role, request) in
            [(Role::Worker, None), (Role::Request, Some(RequestKind::Connection))]
        {
            let rules: BTreeMap<_, _> = for_process(&jail, role, request).into_iter().collect();
            for call in [
                libc::SYS_socket,
                libc::SYS_socketpair,
                libc::SYS_bind,
                libc::SYS_connect,
                libc::SYS_listen,
                libc::SYS_sendmsg,
                libc::SYS_sendmmsg,
            ] {
                assert_eq!(rules.get(&call), None, "{role:?} {call}");
            }
            let without_address = Action::AllowIf(Condition::Null { argument: 4 });
            assert_eq!(rules[&libc::SYS_sendto], without_address);
            assert!(matches!(rules[&libc::SYS_setsockopt], Action::AllowIf(_)));
        }
        assert_eq!(ChildFilters::needed(&jail), ChildFilters::All);
    }

    /// Such a process receives from sockets of the broker, and not from the one that all share.
    #[test]
    fn a_process_for_a_datagram_with_a_broker_has_its_own_sockets_apart() {
        let paths = vec!["/".into()];
        let jail = Jail {
            transports: Transports::Both,
            packet_info: true,
            unix_sockets: true,
            read_write: paths,
            brokered: Some(BrokeredSockets { options: &[(1, 9)] }),
            ..Jail::new(JailMode::Require)
        };
        for kind in [RequestKind::UdpDatagram, RequestKind::UnixDatagram] {
            let rules: BTreeMap<_, _> =
                for_process(&jail, Role::Request, Some(kind)).into_iter().collect();
            for call in [
                libc::SYS_accept4,
                libc::SYS_ioctl,
                libc::SYS_read,
                libc::SYS_recvfrom,
                libc::SYS_recvmsg,
                libc::SYS_sendfile,
                libc::SYS_setsockopt,
                libc::SYS_shutdown,
            ] {
                assert!(matches!(rules[&call], Action::AllowElsewhere(_)), "{kind:?} {call}");
            }
            let replies = Action::AllowIf(Condition::OwnSocketOrNull { argument: 4 });
            assert_eq!(rules[&libc::SYS_sendto], replies);
            let has_sendmsg = kind == RequestKind::UdpDatagram;
            let own = has_sendmsg.then_some(&Action::AllowIf(Condition::OwnSocket));
            assert_eq!(rules.get(&libc::SYS_sendmsg), own);
            for call in [libc::SYS_recvmmsg, libc::SYS_sendmmsg, libc::SYS_dup, libc::SYS_dup3] {
                assert_eq!(rules.get(&call), None, "{kind:?} {call}");
            }
        }
        assert_eq!(ChildFilters::needed(&jail), ChildFilters::All);
        // The filter that they share with the parent names no socket.
        for (call, action) in for_parent_and_children(&jail, ChildFilters::All) {
            assert_eq!(for_all_sockets(action), action, "{call}");
        }
    }

    #[test]
    fn a_process_with_a_unix_socket_has_no_sendmsg() {
        let jail = Jail {
            transports: Transports::Both,
            unix_sockets: true,
            packet_info: true,
            ..Jail::new(JailMode::Require)
        };
        let has_sendmsg = |role, request| {
            let rules = for_process(&jail, role, request);
            rules.iter().any(|(call, _)| *call == libc::SYS_sendmsg)
        };
        assert!(!has_sendmsg(Role::Worker, None));
        assert!(!has_sendmsg(Role::Request, None));
        assert!(!has_sendmsg(Role::Request, Some(RequestKind::Connection)));
        assert!(!has_sendmsg(Role::Request, Some(RequestKind::UnixDatagram)));
        assert!(has_sendmsg(Role::Request, Some(RequestKind::UdpDatagram)));
        // The shared filter has it, so each child needs a filter without it.
        assert_eq!(ChildFilters::needed(&jail), ChildFilters::All);
        let no_unix = Jail { unix_sockets: false, ..jail };
        assert_eq!(ChildFilters::needed(&no_unix), ChildFilters::Datagrams);
    }
}
