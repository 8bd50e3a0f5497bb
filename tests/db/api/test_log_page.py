"""Owns the checks of the log's page and of what an event's page says of it: what stands, what is wrong, and that it can be checked."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client

from auditlog.seal.refusal import Flag, Why
from auditlog.seal.sealer import Sealer
from auditlog.store.connect import connect
from tests.db.api.conftest import REFUND, World, person
from tests.db.seal.conftest import span


def text(answer: Any) -> str:
    assert answer.status_code == 200, answer.content
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode().partition("<main")[2])))


def test_before_anything_is_sealed_the_page_says_what_brings_the_first_checkpoint(world: World) -> None:
    viewer = person(world.project, "vera", "viewer")
    page = text(viewer.get("/log"))
    assert (
        "Nothing is sealed yet" in page and "No sealer is at work" in page and "Everything that is stored in this project is sealed" in page
    )


def test_a_viewer_sees_the_last_checkpoint_every_other_and_the_keys(world: World) -> None:
    viewer = person(world.project, "vera", "viewer")
    for _ in range(3):
        world.bench.send([span()])
        world.seal()
    world.bench.owner.execute(
        "INSERT INTO anchor VALUES (2, 'copy', 'elsewhere', '', now()), (2, 'timestamp', 'authority', '', '2026-03-01T10:20:30Z')"
    )
    page = text(viewer.get("/log?tz=UTC"))
    rows = world.bench.rows("SELECT root, note FROM checkpoint ORDER BY size")
    assert all(root.hex() in page for root, _ in rows) and " ".join(rows[-1][1].split()) in page
    assert (
        "copy elsewhere" in page
        and "timestamp authority" in page
        and "10:20:30" in page
        and page.count("nowhere") == 2
        and "3 checkpoints shown, that is all" in page
    )
    ((name,),) = world.bench.rows("SELECT name FROM log_key")
    assert f"{name}+" in page and "curl -H" in page and "http://testserver/log/v1/checkpoint" in page


def test_checkpoints_are_paged(world: World) -> None:
    viewer = person(world.project, "vera", "viewer")
    for _ in range(3):
        world.bench.send([span()])
        world.seal()
    first = viewer.get("/log?limit=2")
    assert "2 checkpoints shown, more below" in text(first)
    (following,) = re.findall(r'href="(\?[^"]+)" rel="next"', first.content.decode())
    second = text(viewer.get("/log" + unescape(following)))
    assert "1 checkpoint shown, these are the oldest" in second and "The newest" in second


def test_what_waits_and_why_is_said(world: World) -> None:
    viewer = person(world.project, "vera", "viewer")
    world.load(REFUND)
    world.bench.owner.execute("UPDATE batch SET received_at = now()")  # what tests send was received when their process began
    assert re.search(r"1 request of this project was stored within the last \d+ s and waits", text(viewer.get("/log")))
    world.bench.owner.execute("UPDATE batch SET received_at = now() - interval '2 hours'")
    with connect("sealer", autocommit=True) as conn:
        sealer = Sealer(conn, world.key_file)
        page = text(viewer.get("/log"))
        assert re.search(r"stored and not sealed, the oldest for 7,20\d s", page) and "A transaction that somebody left open" in page
        for why in Why:
            Flag(conn).set(why)
            page = text(viewer.get("/log"))
            assert "Nothing is sealed now." in page and why.words in page
            conn.execute("SELECT pg_advisory_unlock(7209, %s)", (why,))
        sealer.release()


def test_an_events_page_names_its_line_of_the_log_and_gives_the_proof(world: World, operator: Client) -> None:
    for _ in range(2):
        world.bench.send([span()])
    world.load(REFUND)
    event = world.api.json("events")["results"][-1]["id"]
    assert "not yet" in text(operator.get(f"/events/{event}"))
    world.seal()
    page = operator.get(f"/events/{event}")
    ((index, size),) = world.bench.rows(
        f"SELECT leaf_index, (SELECT min(size) FROM checkpoint WHERE size > leaf_index) FROM leaf "
        f"JOIN event USING (batch_no) WHERE event_id = '{event[32:]}'"
    )
    assert f"as line {index} , checkpoint {size}" in text(page)
    assert f'href="/api/v1/events/{event}/proof" download' in page.content.decode()


@pytest.mark.parametrize("query", ["cursor=AAAA", "limit=0", "bogus=1", "limit=1&limit=2"])
def test_what_cannot_be_read_in_its_address_is_said(world: World, query: str) -> None:
    assert person(world.project, "vera", "viewer").get(f"/log?{query}").status_code == 400
