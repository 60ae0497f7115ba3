"""Runs a program on a kernel that seems to lack what newer ones have.

old_kernel.py landlock|passrights PROGRAM [ARGUMENT...]
"""

import ctypes
import os
import platform
import struct
import sys

LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
NUMBER, ARGUMENTS = 0, 16  # In `struct seccomp_data`.
ALLOW, FAIL = 0x7FFF0000, 0x00050000
ENOSYS, ENOPROTOOPT = 38, 92

LANDLOCK_CREATE_RULESET = 444  # On every architecture.
SETSOCKOPT = {"x86_64": 54, "aarch64": 208}[platform.machine()]
SOL_SOCKET, SO_PASSRIGHTS = 1, 83

# Each step: operation, how many steps to skip if it holds and if it does not, value.
STEPS = {
    # Before Linux 5.13.
    "landlock": [
        (LOAD, 0, 0, NUMBER),
        (JUMP_IF_EQUAL, 0, 1, LANDLOCK_CREATE_RULESET),
        (RETURN, 0, 0, FAIL | ENOSYS),
        (RETURN, 0, 0, ALLOW),
    ],
    # Before Linux 6.16.
    "passrights": [
        (LOAD, 0, 0, NUMBER),
        (JUMP_IF_EQUAL, 0, 5, SETSOCKOPT),
        (LOAD, 0, 0, ARGUMENTS + 8 * 1),
        (JUMP_IF_EQUAL, 0, 3, SOL_SOCKET),
        (LOAD, 0, 0, ARGUMENTS + 8 * 2),
        (JUMP_IF_EQUAL, 0, 1, SO_PASSRIGHTS),
        (RETURN, 0, 0, FAIL | ENOPROTOOPT),
        (RETURN, 0, 0, ALLOW),
    ],
}

steps = STEPS[sys.argv[1]]
program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(program)))
libc = ctypes.CDLL(None, use_errno=True)
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
for arguments in [(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header)]:
    if libc.prctl(*arguments) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
os.execv(sys.argv[2], sys.argv[2:])
