"""Owns the checks of the bounds of the pass: what it holds at once of what is larger, and that it says what it left."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from auditlog.derive import read, timeline
from auditlog.derive.binding import gather
from auditlog.derive.consume import GROUP_EVENTS
from auditlog.item import STRING, Log
from auditlog.store import reader
from tests.db.api.talks import talk
from tests.db.derive.test_found import call
from tests.db.derive.test_pass import TRACE, span
from tests.db.derived import NOW, Bench

pytestmark = pytest.mark.django_db


def next_month(owner: psycopg.Connection[Any]) -> datetime:
    """A moment of receipt in a bucket that is open by now."""
    later = NOW + timedelta(days=40)
    start = datetime(later.year, later.month, 1, tzinfo=UTC)
    owner.execute("SELECT ensure_bucket(1, %s, %s)", (start, (start + timedelta(days=32)).replace(day=1)))
    return later


@pytest.mark.parametrize("most", ["MOST_EVENTS", "_AHEAD"])
def test_what_was_sent_again_in_the_next_period_takes_no_place_of_what_follows(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, most: str
) -> None:
    monkeypatch.setattr(timeline, "_AHEAD", 1)  # sessions are read one by one
    monkeypatch.setattr(timeline, most, 7)
    items = [call(n, "t", {"x": n}, n) for n in range(1, 7)]
    bench.send(items)
    bench.send(items, received_at=next_month(bench.owner))
    bench.derive()
    assert bench.rows("SELECT count(*) FROM event") == [(12,)]
    assert bench.rows("SELECT count(*) FROM action") == [(6,)]
    assert bench.rows("SELECT cut, error FROM session") == [("", "")]


class Held:
    """What a reader brought into memory at once: bytes of content, and of rows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
        monkeypatch.setattr(reader, "MOST_AT_ONCE", most)
        self.content, self.rows, self.events, self.given_up = [0], [0], [0], 0
        fetch, stored = reader.Reader._bytes, reader.Reader._stored

        def bytes_read(one: reader.Reader, *arguments: Any) -> Any:
            try:
                found = fetch(one, *arguments)
            except reader.TooLarge:
                self.given_up += 1
                raise
            self.content.append(sum(len(data) for _, data in found))
            return found

        def loaded(one: reader.Reader, rows: Any, *arguments: Any, **more: Any) -> Any:
            found = stored(one, rows, *arguments, **more)
            self.rows.append(sum(len(row[7]) + len(row[8]) for row in rows))
            self.events.append(len(rows))
            return found

        monkeypatch.setattr(reader.Reader, "_bytes", bytes_read)
        monkeypatch.setattr(reader.Reader, "_stored", loaded)


@pytest.mark.parametrize("alike", [True, False], ids=["compresses well", "does not"])
def test_values_of_large_events_are_read_so_many_at_once_as_fit(bench: Bench, monkeypatch: pytest.MonkeyPatch, alike: bool) -> None:
    texts = [f"{n}" + ("ab" * 20_000 if alike else "".join(map(chr, range(0x100 + n, 0x2800 + n)))) for n in range(12)]
    held = Held(monkeypatch, 100_000)
    monkeypatch.setattr(timeline, "_AHEAD", 1)
    bench.send([call(n + 1, "t", {"x": n}, one) for n, one in enumerate(texts)])
    bench.derive()
    assert bench.rows("SELECT count(*) FROM action") == [(12,)] and bench.rows("SELECT cut, error FROM session") == [("", "")]
    assert 40_000 < max(held.content) <= 100_000 + 1_000 and max(held.events) > 1


@pytest.mark.parametrize("most", [2_000, 5_000, 12_000, 30_000])
def test_conversations_are_whole_wherever_a_page_turned_out_too_large(bench: Bench, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Their nodes lead from the end to the beginning: what an attempt had read of one that was given up must not pass for all of it."""
    bench.send(talk("long", 40, "The order arrived late. " * 20))
    bench.derive()
    (facts,) = [
        read.session_facts(bench.conn.cursor(), 1, bench.project.project_id, key) for (key,) in bench.rows("SELECT key FROM session")
    ]
    assert facts is not None
    whole = timeline.build(bench.reader, facts)
    held = Held(monkeypatch, most)
    assert timeline.build(bench.reader, facts) == whole and held.given_up
    assert "content_withheld" not in {gap["code"] for gap in whole["completeness"]["gaps"]}


def test_one_event_is_read_however_large_it_is(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    Held(monkeypatch, 1_000)
    bench.send([call(n, "t", {"x": n}, "y" * 50_000) for n in (1, 2)])
    bench.derive()
    assert bench.rows("SELECT cut, error, tool_calls FROM session") == [("", "", 2)]


def test_batches_are_bound_in_portions_and_each_event_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of values in place as of long ones in a body, which binding has to read: it may hold anything."""
    small = [span(n, TRACE, session__id="s", **{f"k{m}": "v" * 200 for m in range(20)}) for n in range(1, 41)]
    bodies = [Log(span(1).context, 10**18 + n, 0, (STRING, f"{n}" * 30_000), [], TRACE) for n in range(10, 30)]
    bench.send(small)
    whole = bench.send(bodies)
    held = Held(monkeypatch, 70_000)
    portions = list(bench.reader.stream_of_batches(range(whole.batch_no - 1, whole.batch_no + 1)))
    assert len(portions) == len({one.id for one in portions}) == 60 and [one.batch_no for one in portions] == sorted(
        one.batch_no for one in portions
    )
    assert 30_000 < max(held.rows) <= 70_000 + 6_000 and 30_000 < max(held.content) <= 70_000
    assert len(portions) < GROUP_EVENTS and len(gather(portions).events) == 1
    bench.derive()
    assert bench.rows("SELECT events FROM tally") == [(60,)]


def test_values_in_place_that_are_too_much_for_one_session_end_it_and_it_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "MOST_BYTES", 30_000)
    monkeypatch.setattr(timeline, "_AHEAD_BYTES", 10_000)
    said = {"gen_ai__operation__name": "execute_tool", "gen_ai__tool__name": "t", **{f"k{m}": "v" * 200 for m in range(20)}}
    bench.send([span(n, TRACE, **said) for n in range(1, 20)])
    held = Held(monkeypatch, 1_000_000)
    bench.derive()
    ((cut, verdict, calls),) = bench.rows("SELECT cut, verdict, tool_calls FROM session")
    assert "they are too large" in cut and verdict == "gaps" and 0 < calls < 19
    assert 0 < held.rows[-1] <= 30_000  # what was read last is the session
