//! Compiles rules for system calls to a program for seccomp.
//!
//! The program looks up the number of the call in bitmaps. Each child that needs a filter
//! installs it anew, and the cost of that grows with the length of the program, which the
//! kernel compiles. A program that only compares numbers is twice as long; the kernel also
//! runs such a program for every number at installation, to find the calls that are always
//! allowed. A chain of comparisons would cost more than the rest of the jail. See
//! `seccomp(2)`, and `networking/filter.rst` in the kernel's documentation.

use std::os::fd::RawFd;

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_IMM, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD,
    BPF_LSH, BPF_MEM, BPF_MISC, BPF_RET, BPF_RSH, BPF_ST, BPF_TAX, BPF_W, BPF_X, SECCOMP_RET_ALLOW,
    SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS, c_long,
};
use rustix::process::Pid;
use seccompiler::sock_filter;

/// The reaction of the filter to a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Allows it.
    Allow,
    /// Allows it if the condition holds. Otherwise it fails with `EPERM`.
    AllowIf(Condition),
    /// Allows it if its first argument is a descriptor, neither that of the request nor one of
    /// the standard streams, and the condition holds, if there is one. Otherwise it fails with
    /// `EPERM`. See [`for_process`].
    AllowElsewhere(Option<Condition>),
    /// Lets it fail with this error.
    Errno(i32),
    /// Ends the process with `SIGSYS`.
    KillProcess,
}

/// A condition on the arguments of a call, which are numbered from 0. Except for `Null`,
/// only the lower half of an argument counts, as it does for these calls in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// The argument is one of the values.
    OneOf { argument: u32, values: &'static [u32] },
    /// The argument has none of the bits.
    NoneOf { argument: u32, bits: u32 },
    /// The argument is at least the minimum.
    AtLeast { argument: u32, minimum: u32 },
    /// The first argument is one of the values; if a second value stands beside it, the
    /// second argument is that value.
    Pairs(&'static [(u32, Option<u32>)]),
    /// The arguments 1 and 2, a level and an option of a socket, are one of these pairs.
    SocketOptions(&'static [(i32, i32)]),
    /// Each argument, by its number, is the value beside it.
    All(&'static [(u32, u32)]),
    /// The whole argument is a null pointer.
    Null { argument: u32 },
    /// The argument is the id of this process: see [`for_process`].
    OwnProcess { argument: u32 },
    /// The first argument is the descriptor of the request: see [`for_process`].
    OwnSocket,
    /// The first argument is the descriptor of the request, or the whole argument with this
    /// number is a null pointer.
    OwnSocketOrNull { argument: u32 },
}

/// The errno of calls that no rule names.
const DEFAULT_ERRNO: i32 = libc::EPERM;

/// The offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The slot of the program's memory for the bit of the number.
const BIT: u32 = 0;

/// Stands in a program for the id of the process. No process has this id.
const OWN_PROCESS: u32 = u32::MAX;

/// Stands in a program for the descriptor of the request. No descriptor has this number.
const OWN_SOCKET: u32 = u32::MAX - 1;

/// The first descriptor after the standard streams.
const FIRST_OTHER: u32 = 3;

const LOAD: u16 = opcode(BPF_LD | BPF_W | BPF_ABS);
const LOAD_CONSTANT: u16 = opcode(BPF_LD | BPF_IMM);
const LOAD_SLOT: u16 = opcode(BPF_LD | BPF_MEM);
const STORE_SLOT: u16 = opcode(BPF_ST);
const COPY_TO_INDEX: u16 = opcode(BPF_MISC | BPF_TAX);
const AND: u16 = opcode(BPF_ALU | BPF_AND | BPF_K);
const SHIFT_LEFT_BY_INDEX: u16 = opcode(BPF_ALU | BPF_LSH | BPF_X);
const SHIFT_RIGHT: u16 = opcode(BPF_ALU | BPF_RSH | BPF_K);
const JUMP: u16 = opcode(BPF_JMP | BPF_JA);
const RETURN: u16 = opcode(BPF_RET | BPF_K);

/// Comparisons of the accumulator with a constant, for [`skip_if`] and [`skip_unless`].
const EQUAL: u16 = opcode(BPF_JMP | BPF_JEQ | BPF_K);
const AT_LEAST: u16 = opcode(BPF_JMP | BPF_JGE | BPF_K);
const SHARES_BITS: u16 = opcode(BPF_JMP | BPF_JSET | BPF_K);

/// Compiles rules to a program for processes of this architecture. A call of another
/// architecture ends the process, and a call without a rule fails.
pub(super) fn compile(arch: u32, rules: &[(c_long, Action)]) -> Vec<sock_filter> {
    compile_with(arch, rules, &fail(DEFAULT_ERRNO))
}

/// Compiles rules to a program on top of another one, to which it leaves each call without a
/// rule. The kernel does what the stricter one says.
pub(super) fn compile_on_top(arch: u32, rules: &[(c_long, Action)]) -> Vec<sock_filter> {
    compile_with(arch, rules, &allow())
}

fn compile_with(
    arch: u32,
    rules: &[(c_long, Action)],
    without_rule: &sock_filter,
) -> Vec<sock_filter> {
    let words = words(rules);
    let limit = length(&words).saturating_mul(32);
    let mut program = vec![
        // Has no effect. It stops the kernel at once from running the program ahead of
        // time for every number.
        step(LOAD_CONSTANT, 0),
        step(LOAD, ARCH),
    ];
    program.extend(skip_if(EQUAL, arch, vec![kill()]));
    program.push(step(LOAD, NUMBER));
    program.extend(skip_unless(AT_LEAST, limit, vec![without_rule.clone()]));
    program.extend([
        // The bit of the number, 1 << (number % 32), and the index of its word.
        step(AND, 31),
        step(COPY_TO_INDEX, 0),
        step(LOAD_CONSTANT, 1),
        step(SHIFT_LEFT_BY_INDEX, 0),
        step(STORE_SLOT, BIT),
        step(LOAD, NUMBER),
        step(SHIFT_RIGHT, 5),
    ]);
    program.extend(find_word(&words, 0, without_rule));
    program
}

/// Returns the program for the process with this id, and for the request with this descriptor.
/// Without a descriptor a program that asks for it ends the process.
pub(super) fn for_process(
    program: &[sock_filter],
    process: Pid,
    socket: Option<RawFd>,
) -> Vec<sock_filter> {
    let process = process.as_raw_nonzero().get().cast_unsigned();
    let socket = socket.map(i32::cast_unsigned);
    let for_this = |own: &sock_filter| match (own.code, own.k) {
        (EQUAL, OWN_PROCESS) => sock_filter { k: process, ..own.clone() },
        (EQUAL, OWN_SOCKET) => match socket {
            Some(socket) => sock_filter { k: socket, ..own.clone() },
            None => kill(),
        },
        _ => own.clone(),
    };
    program.iter().map(for_this).collect()
}

/// The rules for 32 successive numbers.
#[derive(Default, Clone, PartialEq)]
struct Word {
    allowed: u32,
    failing: u32,
    killing: u32,
    /// The numbers with other actions.
    others: Vec<(u32, Action)>,
}

fn words(rules: &[(c_long, Action)]) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    for (number, action) in rules {
        // No call has a negative number.
        let Ok(number) = u32::try_from(*number) else { continue };
        let index = number as usize / 32;
        if words.len() <= index {
            words.resize(index + 1, Word::default());
        }
        let bit = 1 << (number % 32);
        match action {
            Action::Allow => words[index].allowed |= bit,
            Action::Errno(DEFAULT_ERRNO) => words[index].failing |= bit,
            Action::KillProcess => words[index].killing |= bit,
            Action::AllowIf(_) | Action::AllowElsewhere(_) | Action::Errno(_) => {
                words[index].others.push((number, *action));
            }
        }
    }
    words
}

/// Finds the word whose index is in the accumulator, by bisection. `first` is the index of
/// the first of these words.
fn find_word(words: &[Word], first: u32, without_rule: &sock_filter) -> Vec<sock_filter> {
    match words {
        _ if words.iter().all(|word| *word == Word::default()) => {
            return vec![without_rule.clone()];
        }
        [word] => return look_up(word, without_rule),
        _ => {}
    }
    let (lower, upper) = words.split_at(words.len() / 2);
    let from = first.saturating_add(length(lower));
    let mut steps = skip_if(AT_LEAST, from, find_word(lower, first, without_rule));
    steps.extend(find_word(upper, from, without_rule));
    steps
}

/// Finds the action of the number in its word.
fn look_up(word: &Word, without_rule: &sock_filter) -> Vec<sock_filter> {
    let mut steps = Vec::new();
    let actions =
        [(word.allowed, allow()), (word.failing, fail(DEFAULT_ERRNO)), (word.killing, kill())];
    if actions.iter().any(|(bits, _)| *bits != 0) {
        steps.push(step(LOAD_SLOT, BIT));
    }
    for (bits, action) in actions {
        if bits != 0 {
            steps.extend(skip_unless(SHARES_BITS, bits, vec![action]));
        }
    }
    if !word.others.is_empty() {
        steps.push(step(LOAD, NUMBER));
    }
    for (number, action) in &word.others {
        steps.extend(skip_unless(EQUAL, *number, act(*action)));
    }
    steps.push(without_rule.clone());
    steps
}

fn act(action: Action) -> Vec<sock_filter> {
    match action {
        Action::Allow => vec![allow()],
        Action::Errno(errno) => vec![fail(errno)],
        Action::KillProcess => vec![kill()],
        Action::AllowIf(condition) => allow_if(condition),
        Action::AllowElsewhere(condition) => {
            let mut steps = vec![load_argument(0)];
            steps.extend(skip_unless(EQUAL, OWN_SOCKET, vec![fail(DEFAULT_ERRNO)]));
            steps.extend(skip_if(AT_LEAST, FIRST_OTHER, vec![fail(DEFAULT_ERRNO)]));
            steps.extend(condition.map_or_else(|| vec![allow()], allow_if));
            steps
        }
    }
}

fn allow_if(condition: Condition) -> Vec<sock_filter> {
    let mut steps = Vec::new();
    match condition {
        Condition::OneOf { argument, values } => {
            steps.push(load_argument(argument));
            for value in values {
                steps.extend(skip_unless(EQUAL, *value, vec![allow()]));
            }
        }
        Condition::NoneOf { argument, bits } => {
            steps.push(load_argument(argument));
            steps.extend(skip_if(SHARES_BITS, bits, vec![allow()]));
        }
        Condition::AtLeast { argument, minimum } => {
            steps.push(load_argument(argument));
            steps.extend(skip_unless(AT_LEAST, minimum, vec![allow()]));
        }
        Condition::Pairs(pairs) => {
            for (first, second) in pairs {
                let allowed = match second {
                    None => vec![allow()],
                    Some(second) => {
                        let mut steps = vec![load_argument(1)];
                        steps.extend(skip_unless(EQUAL, *second, vec![allow()]));
                        steps
                    }
                };
                steps.push(load_argument(0));
                steps.extend(skip_unless(EQUAL, *first, allowed));
            }
        }
        Condition::SocketOptions(options) => {
            for (level, option) in options {
                let mut same_level = vec![load_argument(2)];
                same_level.extend(skip_unless(EQUAL, option.cast_unsigned(), vec![allow()]));
                steps.push(load_argument(1));
                steps.extend(skip_unless(EQUAL, level.cast_unsigned(), same_level));
            }
        }
        Condition::All(values) => {
            for (argument, value) in values {
                steps.push(load_argument(*argument));
                steps.extend(skip_if(EQUAL, *value, vec![fail(DEFAULT_ERRNO)]));
            }
            steps.push(allow());
            return steps;
        }
        Condition::Null { argument } => steps.extend(allow_null(argument)),
        Condition::OwnProcess { argument } => {
            steps.push(load_argument(argument));
            steps.extend(skip_unless(EQUAL, OWN_PROCESS, vec![allow()]));
        }
        Condition::OwnSocket => {
            steps.push(load_argument(0));
            steps.extend(skip_unless(EQUAL, OWN_SOCKET, vec![allow()]));
        }
        Condition::OwnSocketOrNull { argument } => {
            steps.push(load_argument(0));
            steps.extend(skip_unless(EQUAL, OWN_SOCKET, vec![allow()]));
            steps.extend(allow_null(argument));
        }
    }
    steps.push(fail(DEFAULT_ERRNO));
    steps
}

/// Allows the call if the whole argument is 0.
fn allow_null(argument: u32) -> Vec<sock_filter> {
    let mut upper_half = vec![step(LOAD, argument_offset(argument) + 4)];
    upper_half.extend(skip_unless(EQUAL, 0, vec![allow()]));
    let mut steps = vec![load_argument(argument)];
    steps.extend(skip_unless(EQUAL, 0, upper_half));
    steps
}

/// Skips the block if the comparison of the accumulator with `k` holds.
fn skip_if(comparison: u16, k: u32, block: Vec<sock_filter>) -> Vec<sock_filter> {
    let mut steps = match u8::try_from(block.len()) {
        Ok(length) => vec![jump(comparison, k, length, 0)],
        // Conditional jumps span at most 255 steps.
        Err(_) => vec![jump(comparison, k, 0, 1), step(JUMP, length(&block))],
    };
    steps.extend(block);
    steps
}

/// Skips the block unless the comparison of the accumulator with `k` holds.
fn skip_unless(comparison: u16, k: u32, block: Vec<sock_filter>) -> Vec<sock_filter> {
    let mut steps = match u8::try_from(block.len()) {
        Ok(length) => vec![jump(comparison, k, 0, length)],
        Err(_) => vec![jump(comparison, k, 1, 0), step(JUMP, length(&block))],
    };
    steps.extend(block);
    steps
}

/// Returns the length of a list. The kernel refuses a program that is too long for it.
fn length<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).unwrap_or(u32::MAX)
}

/// Returns the offset of the lower half of an argument, on a little-endian machine.
fn argument_offset(argument: u32) -> u32 {
    ARGUMENTS + 8 * argument
}

fn load_argument(argument: u32) -> sock_filter {
    step(LOAD, argument_offset(argument))
}

fn allow() -> sock_filter {
    step(RETURN, SECCOMP_RET_ALLOW)
}

fn kill() -> sock_filter {
    step(RETURN, SECCOMP_RET_KILL_PROCESS)
}

fn fail(errno: i32) -> sock_filter {
    step(RETURN, SECCOMP_RET_ERRNO | (errno.cast_unsigned() & 0xffff))
}

fn jump(comparison: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: comparison, jt, jf, k }
}

fn step(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

/// Converts an operation to the width of its field. Evaluated at compile time only.
const fn opcode(operation: u32) -> u16 {
    let [low, high, other @ ..] = operation.to_le_bytes();
    assert!(u16::from_le_bytes(other) == 0, "an opcode has 16 bits");
    u16::from_le_bytes([low, high])
}

#[cfg(test)]
pub(super) mod tests;
