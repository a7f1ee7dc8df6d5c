"""Executes another program that ends with its parent, optionally as another user.

    python launch.py PARENT_PID SIGNAL UID GID CAPABILITY -- COMMAND...

Run as a file by the supervisor, standard library only. UID -1 keeps the user.
The kernel clears the death signal when the user changes, so the order here is
user first, signal second, and last a check whether the parent died in between.
CAPABILITY is the one that the other user keeps, or -1: a clone below a
directory that only root may enter (/root) can't be read without it.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG, PR_SET_SECUREBITS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 28, 47, 2
# Without this bit the kernel drops capabilities when the user changes, and access(2),
# which Java calls before it opens a file, does not take them into account.
SECBIT_NO_SETUID_FIXUP = 1 << 2
LINUX_CAPABILITY_VERSION_3 = 0x20080522


def main() -> None:
    parent, death_signal, uid, gid, capability = (int(value) for value in sys.argv[1:6])
    command = sys.argv[7:]
    try:
        if uid >= 0:
            become(uid, gid, capability)
        if sys.platform == "linux":
            prctl(PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:
            sys.exit(1)
        os.execv(command[0], command)  # noqa: S606 - becoming a given command is this file's job
    except OSError as error:
        sys.exit(f"{command[0]} can't be started as user {uid}: {error.strerror}")


def become(uid: int, gid: int, capability: int) -> None:
    """Drop to another user, keeping at most one capability across the next exec."""
    if capability >= 0:
        prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if capability >= 0:
        keep_only(capability)
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)


def keep_only(capability: int) -> None:
    """Make one capability effective, permitted and inheritable, and drop the others."""
    header = (ctypes.c_uint32 * 2)(LINUX_CAPABILITY_VERSION_3, 0)
    mask = 1 << capability
    data = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
    check(ctypes.CDLL(None, use_errno=True).capset(header, data))


def prctl(option: int, *arguments: int) -> None:
    """prctl(2), raising OSError where the C function returns -1."""
    padded = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    check(ctypes.CDLL(None, use_errno=True).prctl(option, *padded))


def check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main()
