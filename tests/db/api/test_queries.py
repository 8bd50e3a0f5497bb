"""Owns how often a page or a list asks the database: a number that neither the rows it shows nor the steps of a session raise.

A person costs three (session, user, project), a program one (its key); then come the bounds of the transaction and the edition.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from auditlog.retention.erasure import erase_field
from auditlog.store import fields
from tests.asked import asked
from tests.db.api.conftest import World
from tests.db.api.talks import talk

LEDGER = 15  # + sessions, their traces, what those declare, their actions, its record, its project's class, and saved searches
RANGE = 2  # + the newest session, where the address names no range and nobody; sessions of more than a day before the range
AHEAD = 1  # + the times of those behind a full page
MANY = 2  # + whether many sessions match, where that decides how those are looked for, and how far
SET = 1  # + of each filter that means a set of sessions: which those are, where they are few
DECISION = 16  # + its record and its project's class, three for the session's facts, buckets, events, restricted, secret, content
EVENT = 15  # + its record and its project's class, buckets, event, restricted, secret, content, session, its line of the log
MISSING = 1  # + the requests by which values are, where some are
SESSIONS, SESSION, TIMELINE, ACTIONS = 10, 9, 14, 16  # all but one session's facts with their record
NODES = 1  # a prompt of more than 16 messages refers to its earlier ones by a node, whose content comes second
KEPT = -4  # more than one page of steps: two of its parts in place of buckets, events, restricted, secret and content


def count(ask: Any) -> int:
    with asked() as statements:
        answer = ask()
    assert answer.status_code == 200
    return len(statements)


def test_the_ledger_asks_as_often_for_forty_sessions_as_for_one_and_whatever_is_filtered(world: World, operator: Client) -> None:
    world.bench.send(talk("a", 3))
    world.bench.derive()
    operator.get("/")  # notes when the person was last seen, once a minute, and opens the connection that records
    assert count(lambda: operator.get("/")) in (LEDGER + RANGE - 1, LEDGER + RANGE)
    for n in range(40):
        world.bench.send(talk(f"s{n}", 3))
    world.bench.derive()
    for path, more in (
        *(("/", RANGE + AHEAD), ("/?range=all", AHEAD), ("/?customer_id=customer-a", 0), ("/?session_id=a", 0)),
        ("/?amount_min=1&value=1&tool=look_up&from=2020-01-01", AHEAD + MANY + RANGE - 1),
    ):
        assert count(lambda path=path: operator.get(path)) in (LEDGER + more - 1, LEDGER + more), path
    assert count(lambda: operator.get("/?q=order+late")) == LEDGER + AHEAD + MANY + 2  # are the words an ID, and what was said around them?
    assert count(lambda: operator.get("/?q=customer-a")) == LEDGER - 1 + 3  # they are, so the planner is told of long texts; and likewise
    world.api.get("sessions")  # the first use of a key is written down
    for path, sets in (("sessions", 0), ("sessions?limit=2", 0), ("sessions?customer_id=customer-a&amount_min=1", 2)):
        assert count(lambda path=path: world.api.get(path)) == SESSIONS + SET * sets, path
    for path, sets in (("actions", 0), ("actions?limit=2", 0), ("actions?amount_min=1&value=1&customer_id=customer-a", 1)):
        assert count(lambda path=path: world.api.get(path)) == ACTIONS + SET * sets, path


@pytest.mark.parametrize(("turns", "more"), [(1, 0), (8, 0), (30, NODES), (100, NODES), (101, KEPT), (150, KEPT)])
def test_a_decision_of_three_hundred_steps_asks_hardly_more_often_than_one_of_two(
    world: World, operator: Client, turns: int, more: int
) -> None:
    world.bench.send(talk("s", turns))
    world.bench.derive()
    key = world.key_of("s")
    operator.get("/")
    assert len(world.api.json(f"sessions/{key}/timeline")["steps"]) == 2 * turns
    assert count(lambda: operator.get(f"/sessions/{key}")) == DECISION + more
    assert count(lambda: world.api.get(f"sessions/{key}/timeline")) == TIMELINE + more
    assert count(lambda: world.api.get(f"sessions/{key}")) == SESSION
    first = world.api.json("events", session=key, limit=1)["results"][0]["id"]
    assert count(lambda: operator.get(f"/events/{first}")) == EVENT
    with world.bench.owner.transaction():
        erase_field(world.bench.owner, world.project.pk, world.bench.project.secret, first, fields.INPUT)
    assert count(lambda: operator.get(f"/events/{first}")) == EVENT + MISSING


def test_content_that_is_known_is_not_asked_for_again(world: World) -> None:
    """Every piece of what a conversation refers to is fetched once, though each of its 99 prompts repeats it."""
    world.bench.send(talk("s", 99))
    world.bench.derive()
    key = world.key_of("s")
    with asked() as statements:
        world.api.get(f"sessions/{key}/timeline")
    asked_for = [key for parameters in statements.parameters for keys in parameters if isinstance(keys, list) for key in keys]
    contents = [key for key in asked_for if isinstance(key, bytes)]
    assert len(contents) > 190 and len(contents) == len(set(contents))
