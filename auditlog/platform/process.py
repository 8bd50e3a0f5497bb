"""Owns how a process of the service is started, how it says that it is ready, and that it never outlives its parent."""

from __future__ import annotations

import ctypes
import gc
import os
import pwd
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

READY_FD: Final = "AUDITLOG_READY_FD"
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)  # loaded before any fork: a child between fork and exec must not load libraries


def die_with_parent(parent: int | None = None) -> None:
    """Asks the kernel to kill this process when the thread that started it ends. Every worker calls it once, after forking.

    fork and setuid clear the request, exec keeps it: so it stands after both. If the parent died before the request was
    made, nobody would ever send the signal: then we end here.
    """
    expected = parent if parent is not None else os.getppid()
    if _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl(PR_SET_PDEATHSIG): {os.strerror(error)}")
    if os.getppid() != expected:
        os._exit(1)


def collect_seldom() -> None:
    """Python looks for garbage less often: what a session is made into dies with its last reference; looking cost a twelfth of the pass."""
    gc.collect()
    gc.freeze()  # what is loaded by now stays
    gc.set_threshold(50_000, 20, 100)


def end_with_make() -> None:
    """Asks for SIGTERM when the `make run` that started this process is killed; under any other parent it does nothing.

    A shell may end and leave a service behind on purpose; make only waits for us.
    """
    try:
        parent = Path(f"/proc/{os.getppid()}/comm").read_text().strip()
    except OSError:
        return
    if parent in ("make", "gmake"):
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def ready() -> None:
    """Tells the supervisor that this process serves. Without a supervisor it does nothing; may be called once."""
    number = os.environ.pop(READY_FD, "")
    if number:
        try:
            os.write(int(number), b"1")
            os.close(int(number))
        except OSError:
            pass  # the supervisor has gone; PR_SET_PDEATHSIG is about to end this process


def start(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    user: pwd.struct_passwd | None = None,
    log: IO[bytes] | int | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Starts a child in a session of its own that dies with this process.

    A session of its own: Ctrl-C in a terminal reaches the whole foreground group, and PostgreSQL would stop before those
    who still write to it. Call from the main thread only: the kernel watches the thread that forked, not the process.
    """
    parent = os.getpid()

    def prepare() -> None:
        if user is not None:
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        die_with_parent(parent)

    return subprocess.Popen(
        list(argv),
        env=None if env is None else dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=pass_fds,
        start_new_session=True,
        preexec_fn=prepare,
    )


def run(
    argv: Sequence[str], *, user: pwd.struct_passwd | None = None, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> tuple[int, str]:
    """Runs a short command to its end under the same rules: (exit status, what it printed)."""
    child = start(argv, user=user, env=env, cwd=cwd, log=subprocess.PIPE)
    out, err = child.communicate()
    return child.returncode, (out + (err or b"")).decode(errors="replace")
