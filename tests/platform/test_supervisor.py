"""Owns the promises of the supervisor: what dies is started again, hopeless ends everything with a reason, nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from auditlog import conf
from auditlog.platform.embedded import Embedded

Start = Callable[[str], subprocess.Popen[str]]


def eventually(happens: Callable[[], object], seconds: float = 30.0) -> None:
    """Waits for a condition; the limit is for a test that would otherwise hang, not a measurement."""
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def pid(folder: Path, name: str) -> int:
    return int((folder / f"{name}.pid").read_text())


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(folder.stat().st_mode | 0o011)  # as root, PostgreSQL's user must pass

    def start(scenario: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.platform.fake_service", str(tmp_path), scenario]
        child = subprocess.Popen(command, cwd=conf.ROOT, stderr=subprocess.PIPE, text=True)
        started.append(child)
        eventually(lambda: (tmp_path / "up").exists() or child.poll() is not None)
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


def test_what_dies_is_started_again_and_what_it_left_behind_is_ended(service: Start, tmp_path: Path) -> None:
    service("plain")
    before, grandchild = pid(tmp_path, "front"), pid(tmp_path, "front.grandchild")
    os.kill(before, signal.SIGKILL)
    eventually(lambda: pid(tmp_path, "front") != before)
    eventually(lambda: not alive(grandchild))


def test_a_signal_ends_those_that_take_requests_before_those_that_work_on_them(service: Start, tmp_path: Path) -> None:
    child = service("plain")
    left = [process.pid for process in psutil.Process(child.pid).children(recursive=True)]
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == 0
    assert (tmp_path / "order").read_text().split() == ["front", "work"]
    assert len(left) == 3
    assert not [number for number in left if alive(number)]


def test_nothing_survives_a_supervisor_that_is_killed(service: Start) -> None:
    child = service("plain")
    left = [process.pid for process in psutil.Process(child.pid).children(recursive=True)]
    child.kill()
    child.wait()
    assert len(left) == 3
    eventually(lambda: not [number for number in left if alive(number)])


def test_it_ends_when_the_make_that_started_it_is_killed(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(f"run:\n\t@exec {sys.executable} -m tests.platform.fake_service {tmp_path} plain\n")
    make = subprocess.Popen(["make", "-f", str(tmp_path / "Makefile"), "run"], cwd=conf.ROOT, stderr=subprocess.DEVNULL)
    eventually(lambda: (tmp_path / "up").exists())
    started = psutil.Process(make.pid).children(recursive=True)
    make.kill()
    make.wait()
    assert len(started) == 4
    assert psutil.wait_procs(started, timeout=30)[1] == []
    assert (tmp_path / "order").read_text().split() == ["front", "work"]  # ended, not killed


def test_three_starts_that_never_served_end_everything_and_the_message_says_which_and_why(service: Start, tmp_path: Path) -> None:
    child = service("hopeless")
    assert child.wait(30) == 1
    assert child.stderr is not None
    message = child.stderr.read()
    assert "broken ended 3 times before it was ready, last with status 3" in message
    assert "the flux is not compensated" in message
    assert not alive(pid(tmp_path, "front"))


def test_what_has_served_is_started_until_it_serves_again_and_the_others_go_on_meanwhile(service: Start, tmp_path: Path) -> None:
    child = service("shaken")
    front = pid(tmp_path, "front")
    eventually(lambda: (tmp_path / "starts").stat().st_size >= 7 or child.poll() is not None)  # more often than what never served
    assert child.poll() is None, "it has given up"
    assert pid(tmp_path, "front") == front
    child.terminate()
    assert child.wait(30) == 0
    assert child.stderr
    assert "shaken ended with status 3, 3 times before it was ready; trying again in 0 s." in child.stderr.read()


def test_ctrl_c_while_processes_start_leaves_none(service: Start, tmp_path: Path) -> None:
    child = service("plain")
    front = pid(tmp_path, "front")
    child.send_signal(signal.SIGINT)
    child.send_signal(signal.SIGINT)
    assert child.wait(30) == 0
    assert not alive(front)


def test_postgresql_that_dies_is_started_again_with_its_data(service: Start, tmp_path: Path) -> None:
    service("postgres")
    server = Embedded(tmp_path)
    with psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    os.kill(int((tmp_path / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    eventually(lambda: not server.answers())
    eventually(server.answers)
    with psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)


def test_postgresql_that_cannot_start_is_tried_until_it_can(service: Start, tmp_path: Path) -> None:
    child = service("impatient")
    server, control = Embedded(tmp_path), tmp_path / "postgres" / "global" / "pg_control"
    control.rename(tmp_path / "pg_control")
    os.kill(int((tmp_path / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    assert child.stderr
    patience = threading.Timer(30, child.kill)
    patience.start()
    tried = 0
    while tried < 4:  # more often than a process that never served
        line = child.stderr.readline()
        assert line, "it has given up"
        tried += line == "Trying again.\n"
    patience.cancel()
    (tmp_path / "pg_control").rename(control)
    eventually(server.answers)


def test_postgresql_does_not_survive_a_supervisor_that_is_killed_and_starts_again_with_its_data(service: Start, tmp_path: Path) -> None:
    child = service("postgres")
    server = Embedded(tmp_path)
    with psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    postmaster = int((tmp_path / "postgres" / "postmaster.pid").read_text().split()[0])
    child.kill()
    child.wait()
    eventually(lambda: not alive(postmaster))
    assert server.start()  # meets the postmaster.pid of the dead one
    with psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)
    server.stop()
    assert not server.answers()
