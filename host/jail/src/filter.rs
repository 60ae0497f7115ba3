//! From verdicts on system calls to a program for seccomp.
//!
//! There are two kinds of program. One is put in place once, in the process that
//! forks. The other looks up the number of the call in bitmaps: each child that
//! needs it puts it in place anew, and what that costs is its length, because the kernel compiles
//! it; and, if it only compares, running it for every number, because the kernel
//! then wants to know ahead which calls are always allowed. A chain of
//! comparisons is the dearest part of a jail by far. See `seccomp(2)`, and
//! `networking/filter.rst` in the kernel's documentation.

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_IMM, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD,
    BPF_LSH, BPF_MEM, BPF_MISC, BPF_RET, BPF_RSH, BPF_ST, BPF_TAX, BPF_W, BPF_X, SECCOMP_RET_ALLOW,
    SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS,
};
use rustix::process::Pid;
use seccompiler::sock_filter;

/// What becomes of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is allowed.
    Allow,
    /// It is allowed if an argument is as it should be, and fails with `EPERM`
    /// otherwise.
    If(Check),
    /// It fails with this error.
    Fail(i32),
    /// It ends the process, with `SIGSYS`.
    Kill,
}

/// How an argument, by its place, should be. Only its lower half is looked at,
/// as the kernel does with these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// One of these numbers.
    OneOf(u32, &'static [u32]),
    /// None of these bits is set.
    Without(u32, u32),
    /// This number, or a greater one.
    AtLeast(u32, u32),
    /// One of these numbers, of the first argument, and where another one stands
    /// beside it, that of the second.
    Pairs(&'static [(u32, Option<u32>)]),
    /// Each of these arguments, by its place, is the number beside it.
    All(&'static [(u32, u32)]),
    /// A null pointer: the whole of it is looked at.
    Null(u32),
    /// The number of this process, see [`for_process`].
    OwnProcess(u32),
}

/// What becomes of calls that nothing is said of.
const OTHERWISE: Verdict = Verdict::Fail(libc::EPERM);

/// Where the number of the call and the architecture are in what the program is
/// given.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

/// Where the program keeps the bit of the number.
const BIT: u32 = 0;

/// In the place of the process's number until that is known. No process has it.
const OWN_PROCESS: u32 = u32::MAX;

/// Makes a program of verdicts, for processes of the architecture with this
/// number. A call of another one ends the process.
pub(crate) fn compile(arch: u32, verdicts: &[(libc::c_long, Verdict)]) -> Vec<sock_filter> {
    let words = words(verdicts);
    let limit = u32::try_from(words.len() * 32).unwrap_or(u32::MAX);
    let mut program = vec![
        // It does nothing. The kernel sees at once that this program does more
        // than compare, and does not run it ahead.
        step(BPF_LD | BPF_IMM, 0, 0, 0),
        load(ARCH),
        jump(BPF_JEQ, arch, 1, 0),
        answer(Verdict::Kill),
        load(NUMBER),
        jump(BPF_JGE, limit, 0, 1),
        answer(OTHERWISE),
        // The bit of the number, 1 << (number % 32), and the place of its word.
        step(BPF_ALU | BPF_AND | BPF_K, 31, 0, 0),
        step(BPF_MISC | BPF_TAX, 0, 0, 0),
        step(BPF_LD | BPF_IMM, 1, 0, 0),
        step(BPF_ALU | BPF_LSH | BPF_X, 0, 0, 0),
        step(BPF_ST, BIT, 0, 0),
        load(NUMBER),
        step(BPF_ALU | BPF_RSH | BPF_K, 5, 0, 0),
    ];
    program.extend(bisect(&words, 0));
    program
}

/// Makes a program of verdicts that is put in place once, for this process and
/// all that it forks: it only compares, so that the kernel finds out ahead which
/// calls are always allowed, and does not run it for these.
pub(crate) fn compile_once(arch: u32, verdicts: &[(libc::c_long, Verdict)]) -> Vec<sock_filter> {
    let mut program =
        vec![load(ARCH), jump(BPF_JEQ, arch, 1, 0), answer(Verdict::Kill), load(NUMBER)];
    program.extend(split(&ranges(verdicts)));
    program
}

/// Where each range of numbers begins that have the same verdict.
fn ranges(verdicts: &[(libc::c_long, Verdict)]) -> Vec<(u32, Verdict)> {
    let mut ranges = vec![(0, OTHERWISE)];
    for (number, verdict) in verdicts {
        // No call has a number below nothing.
        let Ok(number) = u32::try_from(*number) else { continue };
        // The last range is that of the numbers after the last call.
        let follows = ranges.last().is_some_and(|(first, _)| *first == number);
        if follows {
            ranges.pop();
        }
        if ranges.last().is_none_or(|(_, last)| last != verdict) {
            ranges.push((number, *verdict));
        }
        ranges.push((number.saturating_add(1), OTHERWISE));
    }
    ranges
}

/// Finds the range of the number that is in the accumulator.
fn split(ranges: &[(u32, Verdict)]) -> Vec<sock_filter> {
    if let [(_, verdict)] = ranges {
        return judge(*verdict);
    }
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    branch(upper[0].0, split(lower), split(upper))
}

/// Goes on with one program or with the other: the accumulator is less than a
/// number, or it is not.
fn branch(from: u32, lower: Vec<sock_filter>, upper: Vec<sock_filter>) -> Vec<sock_filter> {
    let mut steps = if let Ok(length) = u8::try_from(lower.len()) {
        vec![jump(BPF_JGE, from, length, 0)]
    } else {
        // Too far for a jump with a condition.
        let length = u32::try_from(lower.len()).unwrap_or(u32::MAX);
        vec![jump(BPF_JGE, from, 0, 1), jump(BPF_JA, length, 0, 0)]
    };
    steps.extend(lower);
    steps.extend(upper);
    steps
}

/// The program for the process with this number.
pub(crate) fn for_process(program: &[sock_filter], process: Pid) -> Vec<sock_filter> {
    let mut program = program.to_vec();
    let process = process.as_raw_nonzero().get().cast_unsigned();
    let is_place = |step: &&mut sock_filter| {
        step.code == code(BPF_JMP | BPF_JEQ | BPF_K) && step.k == OWN_PROCESS
    };
    program.iter_mut().filter(is_place).for_each(|step| step.k = process);
    program
}

/// The verdicts on 32 numbers that follow each other.
#[derive(Default, Clone)]
struct Word {
    allowed: u32,
    deadly: u32,
    /// The numbers that are not as simple.
    others: Vec<(u32, Verdict)>,
}

fn words(verdicts: &[(libc::c_long, Verdict)]) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    for (number, verdict) in verdicts {
        // No call has a number below nothing.
        let Ok(number) = u32::try_from(*number) else { continue };
        let place = number as usize / 32;
        if words.len() <= place {
            words.resize(place + 1, Word::default());
        }
        let bit = 1 << (number % 32);
        match verdict {
            Verdict::Allow => words[place].allowed |= bit,
            Verdict::Kill => words[place].deadly |= bit,
            Verdict::If(_) | Verdict::Fail(_) => words[place].others.push((number, *verdict)),
        }
    }
    words
}

/// Finds the word, whose place is in the accumulator, of those from `first` on.
fn bisect(words: &[Word], first: u32) -> Vec<sock_filter> {
    if let [word] = words {
        return look_up(word);
    }
    let (lower, upper) = words.split_at(words.len() / 2);
    let from = first.saturating_add(u32::try_from(lower.len()).unwrap_or(u32::MAX));
    branch(from, bisect(lower, first), bisect(upper, from))
}

fn look_up(word: &Word) -> Vec<sock_filter> {
    let mut steps = Vec::new();
    if word.allowed | word.deadly != 0 {
        steps.push(step(BPF_LD | BPF_MEM, BIT, 0, 0));
    }
    for (bits, verdict) in [(word.allowed, Verdict::Allow), (word.deadly, Verdict::Kill)] {
        if bits != 0 {
            steps.extend([jump(BPF_JSET, bits, 0, 1), answer(verdict)]);
        }
    }
    if !word.others.is_empty() {
        steps.push(load(NUMBER));
    }
    for (number, verdict) in &word.others {
        let judged = judge(*verdict);
        steps.push(jump(BPF_JEQ, *number, 0, u8::try_from(judged.len()).unwrap_or(u8::MAX)));
        steps.extend(judged);
    }
    steps.push(answer(OTHERWISE));
    steps
}

fn judge(verdict: Verdict) -> Vec<sock_filter> {
    let Verdict::If(check) = verdict else { return vec![answer(verdict)] };
    // Each goes on with the first answer to refuse, and with the second, one
    // step later, to allow.
    let mut steps = match check {
        Check::OneOf(argument, values) => {
            let mut steps = vec![load(lower_half(argument))];
            for (left, value) in (1..=values.len()).rev().zip(values) {
                steps.push(jump(BPF_JEQ, *value, u8::try_from(left).unwrap_or(0), 0));
            }
            steps
        }
        Check::Without(argument, bits) => {
            vec![load(lower_half(argument)), jump(BPF_JSET, bits, 0, 1)]
        }
        Check::AtLeast(argument, least) => {
            vec![load(lower_half(argument)), jump(BPF_JGE, least, 1, 0)]
        }
        Check::Pairs(pairs) => return judge_pairs(pairs),
        Check::All(all) => return judge_all(all),
        Check::Null(argument) => vec![
            load(lower_half(argument)),
            jump(BPF_JEQ, 0, 0, 2),
            load(lower_half(argument) + 4),
            jump(BPF_JEQ, 0, 1, 0),
        ],
        Check::OwnProcess(argument) => {
            vec![load(lower_half(argument)), jump(BPF_JEQ, OWN_PROCESS, 1, 0)]
        }
    };
    steps.extend([answer(OTHERWISE), answer(Verdict::Allow)]);
    steps
}

fn judge_pairs(pairs: &[(u32, Option<u32>)]) -> Vec<sock_filter> {
    let mut steps = Vec::new();
    for (first, second) in pairs {
        steps.push(load(lower_half(0)));
        let Some(second) = second else {
            steps.extend([jump(BPF_JEQ, *first, 0, 1), answer(Verdict::Allow)]);
            continue;
        };
        steps.extend([jump(BPF_JEQ, *first, 0, 3), load(lower_half(1))]);
        steps.extend([jump(BPF_JEQ, *second, 0, 1), answer(Verdict::Allow)]);
    }
    steps.push(answer(OTHERWISE));
    steps
}

fn judge_all(all: &[(u32, u32)]) -> Vec<sock_filter> {
    let mut steps = Vec::new();
    for (argument, value) in all {
        steps.extend([load(lower_half(*argument)), jump(BPF_JEQ, *value, 1, 0), answer(OTHERWISE)]);
    }
    steps.push(answer(Verdict::Allow));
    steps
}

/// Where the lower half of an argument is in what the program is given, on a
/// little-endian machine.
fn lower_half(argument: u32) -> u32 {
    16 + 8 * argument
}

fn load(offset: u32) -> sock_filter {
    step(BPF_LD | BPF_W | BPF_ABS, offset, 0, 0)
}

fn jump(condition: u32, k: u32, then: u8, otherwise: u8) -> sock_filter {
    step(BPF_JMP | condition | BPF_K, k, then, otherwise)
}

fn answer(verdict: Verdict) -> sock_filter {
    let k = match verdict {
        Verdict::Allow => SECCOMP_RET_ALLOW,
        Verdict::Fail(errno) => SECCOMP_RET_ERRNO | (errno.cast_unsigned() & 0xffff),
        Verdict::Kill | Verdict::If(_) => SECCOMP_RET_KILL_PROCESS,
    };
    step(BPF_RET | BPF_K, k, 0, 0)
}

fn step(operation: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: code(operation), jt, jf, k }
}

fn code(operation: u32) -> u16 {
    // They are all below 256.
    u16::try_from(operation).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: u32 = 7;

    /// Runs a program as the kernel does.
    fn run(program: &[sock_filter], arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let word = |offset: u32| match offset {
            0 => number,
            4 => arch,
            _ => {
                let argument = arguments[(offset as usize - 16) / 8];
                let half = if offset.is_multiple_of(8) { argument } else { argument >> 32 };
                u32::try_from(half & 0xffff_ffff).unwrap()
            }
        };
        let (mut at, mut a, mut x, mut memory) = (0, 0_u32, 0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            let by = |taken: bool| usize::from(if taken { jt } else { jf });
            at += 1;
            match u32::from(code) {
                c if c == BPF_LD | BPF_W | BPF_ABS => a = word(k),
                c if c == BPF_JMP | BPF_JEQ | BPF_K => at += by(a == k),
                c if c == BPF_JMP | BPF_JGE | BPF_K => at += by(a >= k),
                c if c == BPF_JMP | BPF_JSET | BPF_K => at += by(a & k != 0),
                c if c == BPF_JMP | BPF_JA | BPF_K => at += k as usize,
                c if c == BPF_LD | BPF_IMM => a = k,
                c if c == BPF_LD | BPF_MEM => a = memory,
                c if c == BPF_ST => memory = a,
                c if c == BPF_MISC | BPF_TAX => x = a,
                c if c == BPF_ALU | BPF_AND | BPF_K => a &= k,
                c if c == BPF_ALU | BPF_LSH | BPF_X => a <<= x,
                c if c == BPF_ALU | BPF_RSH | BPF_K => a >>= k,
                c if c == BPF_RET | BPF_K => return k,
                other => panic!("step {other:#x}"),
            }
        }
    }

    const ALLOW: u32 = SECCOMP_RET_ALLOW;
    const KILL: u32 = SECCOMP_RET_KILL_PROCESS;
    const EPERM: u32 = SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
    const ENOSYS: u32 = SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();

    #[test]
    fn each_number_has_its_verdict_and_others_are_refused() {
        let verdicts = [
            (9, Verdict::Kill),
            (0, Verdict::Allow),
            (3, Verdict::Fail(libc::ENOSYS)),
            (4, Verdict::Allow),
            (5, Verdict::Allow),
        ];
        let expected =
            [ALLOW, EPERM, EPERM, ENOSYS, ALLOW, ALLOW, EPERM, EPERM, EPERM, KILL, EPERM];
        let sorted = {
            let mut sorted = verdicts;
            sorted.sort_by_key(|(number, _)| *number);
            sorted
        };
        for program in [compile(MACHINE, &verdicts), compile_once(MACHINE, &sorted)] {
            for (number, expected) in (0..).zip(expected) {
                assert_eq!(run(&program, MACHINE, number, [0; 6]), expected, "{number}");
            }
            // The second ABI of x86-64 has these numbers.
            assert_eq!(run(&program, MACHINE, 0x4000_0000, [0; 6]), EPERM);
            assert_eq!(run(&program, MACHINE, u32::MAX, [0; 6]), EPERM);
            assert_eq!(run(&program, MACHINE + 1, 0, [0; 6]), KILL);
        }
    }

    #[test]
    fn jumps_may_be_long() {
        let verdict = Verdict::If(Check::OneOf(0, &[0]));
        let verdicts: Vec<_> = (0..300).map(|number| (number * 2, verdict)).collect();
        for program in [compile(MACHINE, &verdicts), compile_once(MACHINE, &verdicts)] {
            for number in 0..700 {
                let expected = if number < 600 && number % 2 == 0 { ALLOW } else { EPERM };
                assert_eq!(run(&program, MACHINE, number, [0; 6]), expected, "{number}");
            }
        }
    }

    #[test]
    fn arguments_are_looked_at() {
        let check = |check: Check, argument: u64| {
            let program = compile(MACHINE, &[(5, Verdict::If(check))]);
            let program = for_process(&program, Pid::from_raw(77).unwrap());
            assert_eq!(run(&program, MACHINE, 4, [0; 6]), EPERM);
            assert_eq!(run(&program, MACHINE, 6, [0; 6]), EPERM);
            let verdict = run(&program, MACHINE, 5, [1, 1, argument, 1, 1, 1]);
            assert!(matches!(verdict, ALLOW | EPERM), "{verdict:#x}");
            verdict == ALLOW
        };
        let of = |values: &[u64], one: Check| -> Vec<bool> {
            values.iter().map(|value| check(one, *value)).collect()
        };
        assert_eq!(of(&[2, 3, 4, 5], Check::OneOf(2, &[3, 4])), [false, true, true, false]);
        assert_eq!(of(&[0, 1, 4, 7], Check::Without(2, 4)), [true, true, false, false]);
        assert_eq!(of(&[0, 1, 2, 3], Check::AtLeast(2, 2)), [false, false, true, true]);
        assert_eq!(of(&[0, 1, 1 << 32], Check::Null(2)), [true, false, false]);
        assert_eq!(of(&[76, 77, 0], Check::OwnProcess(2)), [false, true, false]);
        let all = Verdict::If(Check::All(&[(1, 9), (3, 0)]));
        let program = compile_once(MACHINE, &[(5, all)]);
        for (arguments, expected) in [
            ([7, 9, 7, 0, 7, 7], ALLOW),
            ([7, 8, 7, 0, 7, 7], EPERM),
            ([7, 9, 7, 4, 7, 7], EPERM),
            ([9, 0, 0, 9, 7, 7], EPERM),
        ] {
            assert_eq!(run(&program, MACHINE, 5, arguments), expected, "{arguments:?}");
        }
        let pairs = Verdict::If(Check::Pairs(&[(3, Some(9)), (4, None), (5, Some(8))]));
        let program = compile_once(MACHINE, &[(5, pairs)]);
        for first in 0..8 {
            for second in 0..12 {
                let allowed = matches!((first, second), (3, 9) | (4, _) | (5, 8));
                let expected = if allowed { ALLOW } else { EPERM };
                assert_eq!(run(&program, MACHINE, 5, [first, second, 0, 0, 0, 0]), expected);
            }
        }
    }
}
