"""Owns the checks of what one question may ask of the database: its time, that it only reads, how many statements, and in portions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.core.exceptions import DisallowedHost
from django.db import DatabaseError, connection
from django.test import Client

from auditlog.api.errors import to_problem
from auditlog.errors import Problem
from auditlog.item import STRING, Context, Item, Span
from auditlog.search import events
from auditlog.search.bounds import bounded
from tests.db.api.conftest import World
from tests.db.api.test_filters import calls


@contextmanager
def statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every statement that reaches PostgreSQL, those over the connection under Django's included."""
    seen: list[str] = []
    execute = psycopg.Cursor.execute

    def counted(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(str(query))
        return execute(self, query, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(psycopg.Cursor, "execute", counted)
        yield seen


def many(start: int, end: int) -> list[Item]:
    return [
        Span(Context(), n.to_bytes(16), b"s" * 8, "x", 10**18, 10**18, [("session.id", STRING, f"s{n}"), ("customer.id", STRING, "c")])
        for n in range(start, end)
    ]


@pytest.mark.parametrize("path", ["sessions?customer_id=c", "actions", "actions?tool=pay", "events", "sessions/KEY/timeline"])
def test_more_rows_ask_no_more_of_the_database(world: World, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    counts = []
    for first, last in ((1, 4), (4, 40)):
        world.bench.send([*many(first, last), *calls(last)])
        world.bench.derive()
        address = path.replace("KEY", world.key_of("many"))
        world.api.json(address)
        with statements(monkeypatch) as seen:
            answer = world.api.json(address)
        assert len(answer.get("results", answer.get("steps"))) >= last - 1
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 14


def test_a_query_that_takes_too_long_is_given_up_and_says_so(refund: World, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITLOG_QUERY_TIMEOUT", "1")
    with pytest.raises(Problem) as raised, bounded(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(5)")
    assert raised.value.code == "query_timeout"
    monkeypatch.setattr(events, "_RECEIVED", events._RECEIVED.replace("SELECT e.trace_key", "SELECT pg_sleep(5), e.trace_key", 1))
    answer = refund.api.get("events")
    error = json.loads(answer.content)["error"]
    assert (answer.status_code, error["code"]) == (504, "query_timeout")
    assert "Nothing was lost" in error["message"] and "Narrow the time range" in error["message"]
    assert refund.api.get("sessions").status_code == 200 and operator.get("/").status_code == 200  # the connection lives on


def test_a_question_cannot_write(refund: World) -> None:
    with pytest.raises(DatabaseError, match="read-only transaction"), bounded(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM session")
    assert len(refund.api.json("sessions")["results"]) == 1


def test_all_events_are_listed_in_portions_each_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_BATCHES", 2)
    monkeypatch.setattr(events, "_PORTIONS", 2)
    for n in range(1, 12):
        world.bench.send(many(n, n + 2))  # each event but the ends arrives twice
    for given in ({}, {"item": "span"}, {"item": "log"}):
        seen: list[str] = []
        short = 0
        answer = world.api.json("events", limit=3, **given)
        while True:
            seen += [event["id"] for event in answer["results"]]
            short += len(answer["results"]) < 3
            if answer["next"] is None:
                break
            answer = json.loads(world.api.client.get(answer["next"], headers=world.api.headers).content)
        assert len(seen) == len(set(seen)) == (0 if given.get("item") == "log" else 12)
        assert short > 1 or given.get("item") != "log"  # none was found for a while, and the list went on


def test_a_range_with_too_many_traces_says_what_to_do(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_TRACES", 5)
    world.bench.send(many(1, 10))
    world.bench.derive()
    answer = world.api.get("events", **{"from": "2001-01-01"})
    assert answer.status_code == 504 and "Narrow the time range" in json.loads(answer.content)["error"]["message"]


def test_a_host_that_is_not_ours_is_a_clear_refusal() -> None:
    problem = to_problem(DisallowedHost("evil.example"))
    assert (problem.kind.http, problem.code) == (400, "parameter_invalid")
    assert "evil" not in problem.message
