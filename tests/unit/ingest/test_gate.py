"""Owns that one project leaves room for another: requests, bytes, turns at the threads, and look-ups of keys."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from auditlog import keys, secrets
from auditlog.errors import Problem
from auditlog.ingest import auth
from auditlog.ingest.gate import Gate, Place
from auditlog.ingest.work import Work

MIB = 2**20


def full(gate: Gate, project: int) -> list[Place]:
    """Requests of a project until it is refused."""
    places = []
    while True:
        try:
            places.append(gate.enter(project))
        except Problem as problem:
            assert (problem.code, problem.retry_after) == ("overloaded", 1)
            return places


def test_each_project_leaves_a_part_of_the_requests_to_whoever_comes_next() -> None:
    gate = Gate(12, 100)
    first = full(gate, 1)
    second = full(gate, 2)
    third = full(gate, 3)
    assert (len(first), len(second), len(third)) == (6, 3, 2)
    assert len(full(gate, 4)) == 1  # however many there are: nobody took the last one for a second request
    for place in first:
        place.leave()
    assert len(full(gate, 1)) == 3


def test_a_project_holds_half_of_the_bytes_and_leaves_the_rest() -> None:
    gate = Gate(100, 8 * MIB)
    noisy = [gate.enter(1) for _ in range(8)]
    for place in noisy[:4]:
        place.hold(MIB)
    with pytest.raises(Problem, match="as many bytes"):
        noisy[4].hold(1)
    gate.enter(2).hold(MIB)


def test_whoever_comes_next_may_hold_what_is_free() -> None:
    gate = Gate(100, 4 * MIB)
    for project in range(3):
        gate.enter(project).hold(MIB)
    gate.enter(3).hold(MIB - 10)
    gate.enter(4).hold(10)
    with pytest.raises(Problem, match="as many bytes"):
        gate.enter(5).hold(1)


def test_who_leaves_makes_room_and_who_waits_gets_it() -> None:
    gate = Gate(100, 2 * MIB)
    first, second = gate.enter(1), gate.enter(1)
    first.hold(MIB)
    got = threading.Event()

    def wait() -> None:
        second.hold(MIB, within=60)
        got.set()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    assert not got.is_set()
    first.leave()
    first.leave()  # a second time changes nothing
    thread.join(10)
    assert got.is_set()
    second.hold(10)
    assert gate.held == 10
    second.leave()
    assert gate.held == 0 and not gate.inside


def test_projects_take_turns_at_the_threads() -> None:
    work, gate = Work(1, "turns"), Gate(1000, 1)
    busy = threading.Event()
    order: list[int] = []

    def job(project: int) -> Callable[[Any], None]:
        return lambda _: order.append(project)

    first: Future[Any] = work.submit(lambda _: busy.wait(30), gate.enter(1))
    jobs: list[Future[Any]] = [work.submit(job(project), gate.enter(project)) for project in [1] * 32 + [2] * 2 + [3]]
    busy.set()
    for future in (first, *jobs):
        future.result(30)
    assert order == [1, 2, 3, 1, 2] + [1] * 30
    assert not gate.inside


class Body:
    """Stands for what a job holds."""


def test_a_job_that_nobody_waits_for_any_more_lets_go_of_its_body_before_a_thread_is_free() -> None:
    work, gate = Work(1, "cancelled"), Gate(1000, 1)
    busy = threading.Event()
    first = work.submit(lambda _: busy.wait(30), gate.enter(1))
    body = Body()
    held = weakref.ref(body)
    future = work.submit(lambda _, body=body: body, gate.enter(2))  # type: ignore[misc]
    del body
    assert future.cancel()
    del future
    gc.collect()
    assert held() is None
    assert list(gate.inside) == [1]
    busy.set()
    assert first.result(30)


def test_a_job_that_fails_tells_who_waits_and_leaves() -> None:
    work, gate = Work(1, "fails"), Gate(1000, 1)

    def job(_: Any) -> None:
        raise Problem("store_unavailable", "no")

    with pytest.raises(Problem, match="no"):
        work.wait(job, gate.enter(1))
    assert work.wait(lambda _: 5, gate.enter(1)) == 5
    assert not gate.inside


class Database:
    """Answers look-ups of one key at once, and of all others only when told to."""

    def __init__(self, made: keys.Made) -> None:
        self.made = made
        self.answering = threading.Event()
        self.asked: list[str] = []
        self.there = True

    def execute(self, sql: str, parameters: tuple[Any]) -> Any:
        if "UPDATE" in sql:
            return self
        self.asked.append(parameters[0])
        if parameters[0] == self.made.public_id and self.there:
            project = (7, secrets.wrap(secrets.new_project_secret()), 1, "month", 1, None)
            return Row((1, self.made.digest, ["ingest"], None, None, *project, "a key", datetime.now(UTC)))
        self.answering.wait(30)
        return Row(None)

    def close(self) -> None:
        raise psycopg.Error


class Row:
    def __init__(self, row: tuple[Any, ...] | None) -> None:
        self.row = row

    def fetchone(self) -> tuple[Any, ...] | None:
        return self.row


def test_keys_that_were_made_up_do_not_hold_up_a_key_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "REMEMBERED_SECONDS", -1.0)  # so that a known key has to be looked up each time
    made = keys.make()
    database: Any = Database(made)
    known = auth.Keys(lambda: database)
    assert known.check(made.text, "ingest").project.project_id == 7
    made_up = [keys.make().text for _ in range(auth.STRANGERS)]
    waiting: list[Future[Any]] = [known.look_up(text) for text in made_up]
    assert known.look_up(made_up[0]) is waiting[0]  # the same key is not looked up twice at once
    with pytest.raises(Problem) as caught:
        known.look_up(keys.make().text)
    assert (caught.value.code, caught.value.kind.http, caught.value.retry_after) == ("overloaded", 503, 1)
    assert known.check(made.text, "ingest").key_id == 1
    database.answering.set()
    for future, text in zip(waiting, made_up, strict=True):
        with pytest.raises(Problem, match="not known here"):
            known.judge(future.result(30), text, "ingest")
    with pytest.raises(Problem, match="not known here"):
        known.check(keys.make().text, "ingest")


def test_a_key_that_is_not_there_is_not_asked_for_again_at_once() -> None:
    made, other = keys.make(), keys.make()
    database: Any = Database(made)
    database.answering.set()
    known = auth.Keys(lambda: database)
    for _ in range(3):
        with pytest.raises(Problem, match="not known here"):
            known.check(other.text, "ingest")
    assert database.asked == [other.public_id]


def test_a_key_whose_project_has_been_removed_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "REMEMBERED_SECONDS", -1.0)
    made = keys.make()
    database: Any = Database(made)
    database.answering.set()
    known = auth.Keys(lambda: database)
    assert known.check(made.text, "ingest")
    database.there = False
    monkeypatch.setattr(auth, "REMEMBERED_SECONDS", 60.0)
    for _ in range(3):  # the first time it is asked for, and from then on no better than any other that is not there
        with pytest.raises(Problem, match="not known here"):
            known.check(made.text, "ingest")
    assert database.asked == [made.public_id] * 2


def test_a_known_key_that_ends_is_refused_after_the_look_up() -> None:
    made = keys.make()
    ended = auth._Known(made.digest, auth.Caller(None, 1, frozenset({"ingest"})), None, datetime.now(UTC), 0, "", None)  # type: ignore[arg-type]
    with pytest.raises(Problem) as caught:
        auth.Keys(lambda: Database(made)).judge(ended, made.text, "ingest")  # type: ignore[arg-type, return-value]
    assert caught.value.code == "key_revoked"
