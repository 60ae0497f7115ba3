use super::*;

const MACHINE: u32 = 7;

/// Runs a program as the kernel does.
pub(crate) fn run(program: &[sock_filter], arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let data = |offset: u32| match offset {
        NUMBER => number,
        ARCH => arch,
        _ => {
            let argument = arguments[(offset as usize - 16) / 8];
            let half = if offset.is_multiple_of(8) { argument } else { argument >> 32 };
            u32::try_from(half & 0xffff_ffff).unwrap()
        }
    };
    let (mut next, mut accumulator, mut index, mut slot) = (0, 0_u32, 0, 0);
    loop {
        let sock_filter { code, jt, jf, k } = program[next];
        let branch = |taken: bool| usize::from(if taken { jt } else { jf });
        next += 1;
        match code {
            LOAD => accumulator = data(k),
            LOAD_CONSTANT => accumulator = k,
            LOAD_SLOT => accumulator = slot,
            STORE_SLOT => slot = accumulator,
            COPY_TO_INDEX => index = accumulator,
            AND => accumulator &= k,
            SHIFT_LEFT_BY_INDEX => accumulator <<= index,
            SHIFT_RIGHT => accumulator >>= k,
            EQUAL => next += branch(accumulator == k),
            AT_LEAST => next += branch(accumulator >= k),
            SHARES_BITS => next += branch(accumulator & k != 0),
            JUMP => next += k as usize,
            RETURN => return k,
            other => panic!("step {other:#x}"),
        }
    }
}

const ALLOW: u32 = SECCOMP_RET_ALLOW;
const KILL: u32 = SECCOMP_RET_KILL_PROCESS;
const EPERM: u32 = SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
const ENOSYS: u32 = SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();

#[test]
fn each_number_has_its_action_and_others_fail() {
    let rules = [
        (9, Action::KillProcess),
        (0, Action::Allow),
        (3, Action::Errno(libc::ENOSYS)),
        (4, Action::Allow),
        (5, Action::Allow),
    ];
    let expected = [ALLOW, EPERM, EPERM, ENOSYS, ALLOW, ALLOW, EPERM, EPERM, EPERM, KILL, EPERM];
    let program = compile(MACHINE, &rules);
    for (number, expected) in (0..).zip(expected) {
        assert_eq!(run(&program, MACHINE, number, [0; 6]), expected, "{number}");
    }
    // The second ABI of x86-64 has these numbers.
    assert_eq!(run(&program, MACHINE, 0x4000_0000, [0; 6]), EPERM);
    assert_eq!(run(&program, MACHINE, u32::MAX, [0; 6]), EPERM);
    assert_eq!(run(&program, MACHINE + 1, 0, [0; 6]), KILL);
}

#[test]
fn jumps_may_be_long() {
    let action = Action::AllowIf(Condition::OneOf { argument: 0, values: &[0] });
    let rules: Vec<_> = (0..300).map(|number| (number * 2, action)).collect();
    let program = compile(MACHINE, &rules);
    for number in 0..700 {
        let expected = if number < 600 && number % 2 == 0 { ALLOW } else { EPERM };
        assert_eq!(run(&program, MACHINE, number, [0; 6]), expected, "{number}");
    }
    let long: Vec<u32> = (0..300).collect();
    let condition = Condition::OneOf { argument: 1, values: long.leak() };
    let program = compile(MACHINE, &[(5, Action::AllowIf(condition))]);
    assert_eq!(run(&program, MACHINE, 5, [0, 299, 0, 0, 0, 0]), ALLOW);
    assert_eq!(run(&program, MACHINE, 5, [0, 300, 0, 0, 0, 0]), EPERM);
    assert_eq!(run(&program, MACHINE, 6, [0; 6]), EPERM);
}

#[test]
fn a_call_is_for_the_socket_of_the_request_or_for_others() {
    let is_allowed = |action, socket, arguments| {
        let program = compile(MACHINE, &[(5, action)]);
        let program = for_process(&program, Pid::from_raw(77).unwrap(), socket);
        run(&program, MACHINE, 5, arguments) == ALLOW
    };
    let descriptors = [0, 1, 2, 3, 8, 9, 10, (1 << 32) + 8, (1 << 32) + 9];
    let allowed = |action, second: u64| {
        let each = descriptors.map(|fd| is_allowed(action, Some(9), [fd, second, 0, 0, 7, 0]));
        each.map(u8::from)
    };
    let (elsewhere, own) = ([0, 0, 0, 1, 1, 0, 1, 1, 0], [0, 0, 0, 0, 0, 1, 0, 0, 1]);
    assert_eq!(allowed(Action::AllowElsewhere(None), 0), elsewhere);
    let one = Condition::OneOf { argument: 1, values: &[6] };
    assert_eq!(allowed(Action::AllowElsewhere(Some(one)), 6), elsewhere);
    assert_eq!(allowed(Action::AllowElsewhere(Some(one)), 7), [0; 9]);
    assert_eq!(allowed(Action::AllowIf(Condition::OwnSocket), 0), own);
    let or_null = |argument| Action::AllowIf(Condition::OwnSocketOrNull { argument });
    assert_eq!(allowed(or_null(4), 0), own);
    assert_eq!(allowed(or_null(3), 0), [1; 9]);
    // A program that asks for the socket is not installed without one by mistake.
    let program = compile(MACHINE, &[(5, Action::AllowElsewhere(None))]);
    let program = for_process(&program, Pid::from_raw(77).unwrap(), None);
    assert_eq!(run(&program, MACHINE, 5, [8, 0, 0, 0, 0, 0]), KILL);
}

#[test]
fn conditions_look_at_the_arguments() {
    let is_allowed = |condition: Condition, value: u64| {
        let program = compile(MACHINE, &[(5, Action::AllowIf(condition))]);
        let program = for_process(&program, Pid::from_raw(77).unwrap(), None);
        assert_eq!(run(&program, MACHINE, 4, [0; 6]), EPERM);
        assert_eq!(run(&program, MACHINE, 6, [0; 6]), EPERM);
        let action = run(&program, MACHINE, 5, [1, 1, value, 1, 1, 1]);
        assert!(matches!(action, ALLOW | EPERM), "{action:#x}");
        action == ALLOW
    };
    let allowed = |values: &[u64], condition: Condition| -> Vec<bool> {
        values.iter().map(|value| is_allowed(condition, *value)).collect()
    };
    let argument = 2;
    let one_of = Condition::OneOf { argument, values: &[3, 4] };
    assert_eq!(allowed(&[2, 3, 4, 5], one_of), [false, true, true, false]);
    let none_of = Condition::NoneOf { argument, bits: 4 };
    assert_eq!(allowed(&[0, 1, 4, 7], none_of), [true, true, false, false]);
    let at_least = Condition::AtLeast { argument, minimum: 2 };
    assert_eq!(allowed(&[0, 1, 2, 3], at_least), [false, false, true, true]);
    let null = Condition::Null { argument };
    assert_eq!(allowed(&[0, 1, 1 << 32], null), [true, false, false]);
    let own_process = Condition::OwnProcess { argument };
    assert_eq!(allowed(&[76, 77, 0], own_process), [false, true, false]);
    let options = Action::AllowIf(Condition::SocketOptions(&[(1, 9), (6, -1)]));
    let program = compile(MACHINE, &[(5, options)]);
    for (arguments, expected) in [
        ([7, 1, 9, 0, 0, 0], ALLOW),
        ([7, 6, 0xffff_ffff, 0, 0, 0], ALLOW),
        ([7, 1, 0xffff_ffff, 0, 0, 0], EPERM),
        ([7, 6, 9, 0, 0, 0], EPERM),
        ([1, 9, 1, 0, 0, 0], EPERM),
    ] {
        assert_eq!(run(&program, MACHINE, 5, arguments), expected, "{arguments:?}");
    }
    let all = Action::AllowIf(Condition::All(&[(1, 9), (3, 0)]));
    let program = compile(MACHINE, &[(5, all)]);
    for (arguments, expected) in [
        ([7, 9, 7, 0, 7, 7], ALLOW),
        ([7, 8, 7, 0, 7, 7], EPERM),
        ([7, 9, 7, 4, 7, 7], EPERM),
        ([9, 0, 0, 9, 7, 7], EPERM),
    ] {
        assert_eq!(run(&program, MACHINE, 5, arguments), expected, "{arguments:?}");
    }
    let pairs = Action::AllowIf(Condition::Pairs(&[(3, Some(9)), (4, None), (5, Some(8))]));
    let program = compile(MACHINE, &[(5, pairs)]);
    for first in 0..8 {
        for second in 0..12 {
            let allowed = matches!((first, second), (3, 9) | (4, _) | (5, 8));
            let expected = if allowed { ALLOW } else { EPERM };
            assert_eq!(run(&program, MACHINE, 5, [first, second, 0, 0, 0, 0]), expected);
        }
    }
}
