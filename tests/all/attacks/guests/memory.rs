//! Handlers that allocate as much memory as they can.

use std::io::Write;

use socketserver_tests::bystander::Bystander;
use socketserver_tests::process::wait_until;
use socketserver_tests::procfs::{memory, private_memory};

use super::canonical_abi::{IMPORT_LOG_UTF16, LOG_COMPACT, PROVIDE_LOG_UTF16};
use super::{assert_reported, handle, hostile, logged, realloc, when_asked};
use crate::attacks::attack;
use crate::client::{ask, expect, read_to_end};
use crate::fixture::{FIXTURE, Fixture};

/// The smallest limit that leaves enough memory for the bystander.
const LITTLE: &[&str] = &["--memory", "8MiB"];

/// Code that grows the memory until the host refuses, and traps.
const GROW: &str =
    "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";

/// Code that passes Latin-1 to `log`, of which the host makes a copy: 15.9 MB, and 50 kB less
/// for each unit of the second byte.
const LONG_TEXT: &str = "(memory.fill (i32.const 65536) (i32.const 250) (i32.const 15900000))
    (call $recv (i32.const 1))
    (call $host_log16 (i32.const 1) (i32.const 65536) (i32.sub
        (i32.const 15900000) (i32.mul (i32.load8_u (i32.const 1024)) (i32.const 50000))))
    (call $sendall (i32.const 100) (i32.const 2))";

#[test]
fn copies_of_text_go_back_to_the_system_when_the_call_ends() {
    let fixture = Fixture {
        handle: LONG_TEXT,
        component: LOG_COMPACT,
        imports: IMPORT_LOG_UTF16,
        provides: PROVIDE_LOG_UTF16,
        memory: "248",
        ..FIXTURE
    };
    let served = fixture.serve(&["--idle-timeout", "1h"]);
    let pid = served.server.pid();
    // From now on the allocator takes smaller blocks for ones that it should keep.
    assert_eq!(ask(&served.server, b"x\0"), b"ok");
    let before = private_memory(pid).unwrap();
    let mut clients: Vec<_> = (0..8).map(|_| served.server.connect().unwrap()).collect();
    for client in &mut clients {
        client.write_all(b"xx").unwrap();
    }
    for client in &mut clients {
        expect(client, b"ok");
    }
    drop(clients);
    // Without care the allocator keeps 30 MiB for each thread until it ends, and a thread ends
    // after ten seconds without a request: each of them gets some.
    wait_until("the memory has gone back", || {
        let mut clients: Vec<_> = (0..8).map(|_| served.server.connect().unwrap()).collect();
        // When the last client is answered, each of the others has a thread.
        for client in clients.iter_mut().rev() {
            client.write_all(b"-").unwrap();
            assert_eq!(read_to_end(client), b"ok");
        }
        private_memory(pid).unwrap() < before + (20 << 20)
    });
}

hostile! {
    memory_up_to_the_limit: handle(GROW).options(LITTLE).ends("memory").saying("the limit is 8388608");
    writing_to_all_memory_up_to_the_limit: handle(
        "(local $to i32)
        (loop $again (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        (memory.fill (i32.const 1024) (i32.const 7) (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 1024)))
        unreachable"
    ).options(LITTLE).ends("memory");
    memory_of_4_gib_at_once: handle("(drop (memory.grow (i32.const 65535))) unreachable").ends("memory").saying("the limit is 67108864");
    growing_the_memory_in_realloc: realloc(when_asked!(
        "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable"
    )).options(LITTLE).ends("memory");
    a_refused_growth_that_the_handler_ignores: handle(
        "(drop (memory.grow (i32.const 60000))) (call $sendall (i32.const 100) (i32.const 2))"
    ).answers(b"ok");
    a_table_up_to_its_limit: handle(
        "(loop $again (br_if $again (i32.ne (table.grow (ref.null func) (i32.const 1000)) (i32.const -1)))) unreachable"
    ).fields("(table 1 funcref)").ends("memory");
    a_table_of_4_billion_entries_at_once: handle(
        "(drop (table.grow (ref.null func) (i32.const -1))) unreachable"
    ).fields("(table 1 funcref)").ends("memory");
    several_memories_share_one_limit: handle(
        "(loop $again
            (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))
            (br_if $again (i32.ne (call $grow_b) (i32.const -1)))
            (br_if $again (i32.ne (call $grow_c) (i32.const -1))))
        unreachable"
    ).with_functions(
        "(core module $more (memory 1) (func (export \"grow\") (result i32) (memory.grow (i32.const 16))))
        (core instance $b (instantiate $more)) (alias core export $b \"grow\" (core func $grow-b))
        (core instance $c (instantiate $more)) (alias core export $c \"grow\" (core func $grow-c))",
        "(import \"host\" \"grow-b\" (func $grow_b (result i32))) (import \"host\" \"grow-c\" (func $grow_c (result i32)))",
        "(export \"grow-b\" (func $grow-b)) (export \"grow-c\" (func $grow-c))"
    ).options(LITTLE).ends("memory").saying("the limit is 8388608");
    tables_count_as_memory: handle(
        "(loop $again
            (br_if $again (i32.ne (table.grow $b (ref.null func) (i32.const 1000)) (i32.const -1)))
            (br_if $again (i32.ne (table.grow $c (ref.null func) (i32.const 1000)) (i32.const -1))))
        unreachable"
    ).fields("(table $b 1 funcref) (table $c 1 funcref)").options(&["--memory", "1MiB"]).ends("memory").saying("the limit is 1048576");
    receiving_4_gib_returns_what_has_come: handle(
        "(call $recv (i32.const -1)) (call $sendall (i32.const 1024) (i32.load (i32.const 24)))"
    ).question(b"xyz").answers(b"yz");
}

#[test]
fn memory_total_bounds_the_memory_of_all_requests() {
    // The handler takes 10 MB and keeps them until its client sends more.
    let fixture = Fixture {
        handle: "(if (i32.eq (memory.grow (i32.const 150)) (i32.const -1)) (then unreachable))
            (call $sendall (i32.const 100) (i32.const 2))
            (call $recv (i32.const 1))",
        ..FIXTURE
    };
    let mut served = fixture.serve(&["--memory-total", "16MiB"]);
    let bystander = Bystander::new(&served.server.endpoints()[0], b"-", b"ok").unwrap();
    attack(&mut served.server, &bystander, |server, _| {
        let mut holder = server.connect().unwrap();
        holder.write_all(b"x").unwrap();
        expect(&mut holder, b"ok");
        let mut other = server.connect().unwrap();
        other.write_all(b"x").unwrap();
        let line = logged(server, &format!("from {}: ", other.local_addr().unwrap()));
        assert_reported(&line, "memory-total", "policy");
        holder.write_all(b"-").unwrap();
        assert_eq!(read_to_end(&mut holder), b"");
        let mut other = server.connect().unwrap();
        other.write_all(b"x-").unwrap();
        assert_eq!(read_to_end(&mut other), b"ok");
    });
}

#[test]
fn receiving_4_gib_does_not_allocate_them() {
    let fixture = Fixture {
        handle: "(call $recv (i32.const -1)) (call $sendall (i32.const 1024) (i32.load (i32.const 24)))",
        ..FIXTURE
    };
    let mut served = fixture.serve(&[]);
    let bystander = Bystander::new(&served.server.endpoints()[0], b"-", b"ok").unwrap();
    attack(&mut served.server, &bystander, |server, _| {
        let before = address_space(server.pid());
        let mut clients: Vec<_> = (0..20).map(|_| server.connect().unwrap()).collect();
        for client in &mut clients {
            client.write_all(b"x").unwrap();
        }
        // When this later request is answered, each call has its buffer.
        bystander.ask().unwrap();
        let grown = address_space(server.pid()).saturating_sub(before);
        for client in &mut clients {
            client.write_all(b"data").unwrap();
            expect(client, b"d");
        }
        // Twenty stacks, and the memory that the allocator reserves for as many threads.
        assert!(grown < 16 << 30, "20 calls took {grown} bytes");
    });
}

/// Returns the size of the address space of a process in bytes, which includes memory that
/// the process has allocated and not yet touched.
fn address_space(pid: u32) -> u64 {
    memory(pid, "VmSize").unwrap()
}
