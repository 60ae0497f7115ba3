use rustix::process::Pid;

use super::program::tests::run;
use super::*;
use crate::config::{BrokeredSockets, JailMode, Transports};

const ARCH: u32 = 7;
const PROCESS: i32 = 77;
const SOCKET: i32 = 9;
const OPTIONS: &[(i32, i32)] = &[(1, 9), (1, 13), (6, 1)];

/// Values that conditions tell apart, and others.
const FIRST: [u64; 7] = [0, 1, 3, 9, 77, 0x11, (1 << 32) + 9];
const SECOND: [u64; 4] = [0, 1, 9, 0x5421];
const THIRD: [u64; 3] = [4, 9, 13];

/// Returns the action of two filters of a process: the stricter one.
fn stricter(first: u32, second: u32) -> u32 {
    // The kernel compares them as signed numbers.
    if first.cast_signed() <= second.cast_signed() { first } else { second }
}

fn jails() -> Vec<Jail> {
    let plain = Jail { transports: Transports::Streams, ..Jail::new(JailMode::Require) };
    let files = Jail { read_only: vec!["/".into()], read_write: vec!["/".into()], ..plain.clone() };
    let brokered = Jail { brokered: Some(BrokeredSockets { options: OPTIONS }), ..plain.clone() };
    let both = Jail {
        transports: Transports::Both,
        packet_info: true,
        unix_sockets: true,
        user: Some((1000, 1000)),
        receives_descriptors: true,
        ..brokered.clone()
    };
    let all = Jail { read_write: vec!["/".into()], ..both.clone() };
    let datagrams = Jail { transports: Transports::Datagrams, ..plain.clone() };
    vec![plain, files, brokered, both, all, datagrams]
}

/// A child that installs only what is missing in the filter that it shares may make the same calls
/// as one that installs all its rules.
#[test]
fn a_filter_on_top_of_the_shared_one_allows_what_a_whole_filter_allows() {
    let process = Pid::from_raw(PROCESS).unwrap();
    for jail in jails() {
        let parent = ParentFilters::new(ARCH, &jail);
        let whole = Filters::new(ARCH, &jail, Role::Request);
        let requests = whole.requests.iter().zip(&parent.children.requests);
        let own = [(&whole.no_request, &parent.children.no_request)];
        for (whole, on_top) in own.into_iter().chain(requests) {
            assert!(on_top.len() < whole.len());
            let [whole, on_top] =
                [whole, on_top].map(|one| program::for_process(one, process, Some(SOCKET)));
            for shared in [&parent.filter, &parent.filter_for_all] {
                let check = |number, arguments| {
                    let below = run(shared, ARCH, number, arguments);
                    let [expected, found] = [&whole, &on_top]
                        .map(|filter| stricter(below, run(filter, ARCH, number, arguments)));
                    assert_eq!(found, expected, "call {number} with {arguments:?}");
                };
                for number in (0..480).chain([0x4000_0000, u32::MAX]) {
                    for first in FIRST {
                        for second in SECOND {
                            for third in THIRD {
                                check(number, [first, second, third, second, first, 0]);
                            }
                            check(number, [first, second, 0, 0, 0, 0]);
                        }
                    }
                }
            }
            // A call of another architecture ends the process.
            let other = run(&parent.filter, ARCH + 1, 0, [0; 6]);
            assert_eq!(stricter(other, run(&on_top, ARCH + 1, 0, [0; 6])), other);
        }
    }
}
