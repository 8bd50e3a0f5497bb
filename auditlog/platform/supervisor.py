"""Owns `make run` from start to stop: which process runs when, what happens when one dies, and that none is left.

A single thread that polls: the kernel kills a child when the *thread* that started it ends, and a supervisor must be
simpler than what it supervises. Every message goes to this terminal, the logs of the processes to AUDITLOG_DATA/logs.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from auditlog import conf
from auditlog.platform import process, roster
from auditlog.platform.embedded import Embedded, PostgresError, tail
from auditlog.platform.roster import Role

TICK: Final = 0.1
STARTS: Final = 3  # this many starts of one process ...
WINDOW: Final = 60.0  # ... within so many seconds, none of which became ready, end everything, unless it has served before
PAUSE: Final = 5.0  # between starts of one that has served and dies as often
START_PATIENCE: Final = 120.0
STOP_PATIENCE: Final = 30.0
LOG_LIMIT: Final = 20 * 1024 * 1024


class Stop(Exception):
    """Everything is to end: with a reason, or because a signal asked for it."""


def say(text: str) -> None:
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except OSError:
        pass  # the terminal has gone; the service has not


class Member:
    """One supervised process over all its starts."""

    def __init__(self, role: Role, logs: Path) -> None:
        self.role = role
        self.log = logs / f"{role.name}.log"
        self.child: subprocess.Popen[bytes] | None = None
        self.ready = False
        self.has_served = False
        self.again_at = 0.0  # not started before; 0: it is not to be started again
        self.failed_starts: deque[float] = deque()
        self._ready_fd = -1

    def start(self) -> None:
        self._close()
        self._ready_fd, theirs = os.pipe()
        os.set_blocking(self._ready_fd, False)
        env = {**os.environ, **self.role.env, process.READY_FD: str(theirs), "PYTHONUNBUFFERED": "1"}
        try:
            with self.log.open("ab") as log:
                self.child = process.start(self.role.command, env=env, log=log, cwd=conf.ROOT, pass_fds=(theirs,))
        finally:
            os.close(theirs)
        self.ready = False

    def check_ready(self) -> bool:
        """True once, when it has begun to serve."""
        if self.ready or self.child is None:
            return False
        self.ready = roster.accepts(self.role.port) if self.role.port else self._said_ready()
        self.has_served = self.has_served or self.ready
        return self.ready

    def _said_ready(self) -> bool:
        try:
            return os.read(self._ready_fd, 1) == b"1"
        except BlockingIOError:
            return False

    def died(self) -> int | None:
        """The exit status of a process that has ended since it was last asked. Its own children are ended with it."""
        if self.child is None or (status := self.child.poll()) is None:
            return None
        self.kill()  # a worker of a main process killed with -9 would go on serving
        if not self.ready:
            self.failed_starts.append(time.monotonic())
        self.child = None
        return status

    def kill(self) -> None:
        if self.child is not None:
            try:
                os.killpg(self.child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def failing(self) -> bool:
        while self.failed_starts and time.monotonic() - self.failed_starts[0] > WINDOW:
            self.failed_starts.popleft()
        return len(self.failed_starts) >= STARTS

    def keep_log_small(self) -> None:
        """Everyone appends, so the file can be emptied under them; what is written during the copy may be lost."""
        try:
            if self.log.stat().st_size > LOG_LIMIT:
                shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
                os.truncate(self.log, 0)
        except FileNotFoundError:
            pass

    def _close(self) -> None:
        if self._ready_fd >= 0:
            os.close(self._ready_fd)
            self._ready_fd = -1


class Supervisor:
    def __init__(self, embedded: Embedded | None, folder: Path, roles: Sequence[Role]) -> None:
        self.embedded = embedded
        self.folder = folder
        logs = folder / "logs"
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.members = [Member(role, logs) for role in roles]
        self._asked = 0
        self._postgres_ours = False
        self._look_again = 0.0

    # -- signals

    def listen(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        process.end_with_make()

    def _on_signal(self, number: int, _: object) -> None:
        self._asked += 1

    def _check(self) -> None:
        if self._asked:
            raise Stop

    # -- start

    def start_postgres(self) -> None:
        if self.embedded is not None:
            self._postgres_ours = self.embedded.start()
            if not self._postgres_ours:
                say("PostgreSQL of this data folder is already running; using it.")
        self._check()

    def start_members(self) -> None:
        """Starts every process and returns when all of them serve."""
        for member in self.members:
            member.start()
        deadline = time.monotonic() + START_PATIENCE
        while not all(member.ready for member in self.members):
            self.tick()
            if time.monotonic() > deadline:
                slow = [member for member in self.members if not member.ready]
                raise Stop("\n".join(f"{m.role.name} did not become ready in {START_PATIENCE:.0f} s:\n{tail(m.log)}" for m in slow))
            time.sleep(TICK)

    def command(self, name: str) -> None:
        """Runs a management command of ours to its end; a signal meanwhile ends it and us."""
        log = self.folder / "logs" / f"{name}.log"
        with log.open("ab") as file:
            child = process.start((sys.executable, str(conf.ROOT / "manage.py"), name), log=file, cwd=conf.ROOT)
        try:
            while child.poll() is None:
                self.tick()
                time.sleep(TICK)
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()
        if child.returncode != 0:
            raise Stop(f"manage.py {name} failed ({child.returncode}):\n{tail(log)}")

    # -- run

    def run(self) -> None:
        """Until a signal or a hopeless process ends it by raising Stop."""
        while True:
            self.tick()
            time.sleep(TICK)

    def tick(self) -> None:
        """Looks at every process once and starts again what has died."""
        self._check()
        self._tend_postgres()
        for member in self.members:
            self._tend(member)
        if time.monotonic() > self._look_again:
            self._look_again = time.monotonic() + 30
            for member in self.members:
                member.keep_log_small()

    def _tend(self, member: Member) -> None:
        """Starts a process again that has ended.

        One that never served is given up, with everything: whoever starts us has to mend something. One that has served is tried for as
        long as it takes: what kills it may pass, and the others, above all those that receive, must not end with it.
        """
        if member.child is None:
            if member.again_at and time.monotonic() >= member.again_at:
                member.again_at = 0.0
                member.start()
            return
        member.check_ready()
        if (status := member.died()) is None:
            return
        if not member.failing():
            say(f"{member.role.name} ended with {_ended(status)}; starting it again.")
            member.start()
        elif member.has_served:
            say(f"{member.role.name} ended with {_ended(status)}, {STARTS} times before it was ready; trying again in {PAUSE:.0f} s.")
            member.again_at = time.monotonic() + PAUSE
        else:
            raise Stop(f"{member.role.name} ended {STARTS} times before it was ready, last with {_ended(status)}:\n{tail(member.log)}")

    def _tend_postgres(self) -> None:
        """Starts PostgreSQL again when it is gone: our child, or that of another `make run` whose server we used.

        For as long as it takes: it has served before, and what keeps it from starting (a full disk) may pass.
        """
        if self.embedded is None:
            return
        if self._postgres_ours:
            child = self.embedded.child  # None: the last start was in vain
            if child is not None:
                if (status := child.poll()) is None:
                    return
                say(f"PostgreSQL ended with {_ended(status)}; starting it again.")
        elif time.monotonic() < self._look_again or self.embedded.answers():
            return
        try:
            self._postgres_ours = self.embedded.start()
        except PostgresError as error:
            say(f"{error}\nTrying again.")

    # -- stop

    def stop(self) -> None:
        """Those that take requests first, then those that work on what was taken, PostgreSQL last. Leaves no process."""
        asked = self._asked
        for group in (True, False):
            members = [m for m in self.members if m.child is not None and m.role.first_to_stop is group]
            for member in members:
                member.child.terminate()  # type: ignore[union-attr]
            deadline = time.monotonic() + STOP_PATIENCE
            while any(m.child.poll() is None for m in members if m.child) and time.monotonic() < deadline and self._asked <= asked + 1:
                time.sleep(TICK / 2)
            for member in members:
                if member.child is not None and member.child.poll() is None:
                    say(f"{member.role.name} did not stop in {STOP_PATIENCE:.0f} s; killing it.")
                member.kill()
                if member.child is not None:
                    member.child.wait()
                    member.child = None
        if self.embedded is not None and self._postgres_ours:
            self.embedded.stop()


def _ended(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
