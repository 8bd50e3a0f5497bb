"""Owns the checks of what comes in over many periods of receipt: a trace open for a month, whose root ends last, is one session."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.test import Client

from auditlog.item import STRING, Context, Span
from auditlog.store import partitions
from tests.db.api.conftest import World
from tests.db.api.test_access import text

TRACE, CLASS, DAYS = b"\7" * 16, 29, 30
DAY = timedelta(days=1)
# Received from the middle of last month to the middle of this one, whatever today is; it happened in 2019.
RECEIVED = datetime.now(UTC).replace(day=1, hour=10, minute=0, second=0, microsecond=0) - 15 * DAY
HAPPENED = datetime(2019, 5, 1, 10, tzinfo=UTC)


@pytest.fixture
def swept(owner: psycopg.Connection[Any]) -> Iterator[None]:
    """Thirty partitions would be emptied before each test that follows."""
    yield
    for number, starts in owner.execute("SELECT bucket, starts FROM bucket WHERE class_no = %s", (CLASS,)).fetchall():
        for table in ("event", "content"):
            owner.execute(f"DROP TABLE {table}_{CLASS}_{starts.astimezone(UTC):%Y%m%d}")
        owner.execute("DELETE FROM bucket WHERE bucket = %s", (number,))


def step(day: int) -> Span:
    """A tool's span of this day, in the root's; 0 is the root, which began first and ends last."""
    at = HAPPENED + day * DAY
    start = int(at.timestamp()) * 10**9
    if not day:
        said = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "clerk", "session.id": "month", "customer.id": "ACME"}
    else:
        said = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look_up", "gen_ai.tool.call.id": f"c{day}",
                "gen_ai.tool.call.arguments": f'{{"day": {day}}}', "gen_ai.tool.call.result": f"seen on day {day}"}  # fmt: skip
    attributes = [(name, STRING, value) for name, value in said.items()]
    end = int((HAPPENED + (DAYS + 1) * DAY).timestamp()) * 10**9 if not day else start + 10**9
    parent = (1).to_bytes(8) if day else b""
    return Span(Context(), TRACE, (day + 1).to_bytes(8), said.get("gen_ai.tool.name", "run"), start, end, attributes, parent_span_id=parent)


def gaps(world: World) -> set[str]:
    return {gap["code"] for gap in world.api.json(f"sessions/{world.only_key()}/timeline")["completeness"]["gaps"]}


@pytest.mark.parametrize("period", ["month", "day"])
def test_a_trace_that_is_open_for_a_month_is_one_session_with_each_event_once(
    world: World, operator: Client, swept: None, period: str
) -> None:
    bench = world.bench
    bench.project = bench.project._replace(class_no=CLASS, period=period)
    for day in range(1, DAYS + 1):
        received = RECEIVED + day * DAY
        bench.send([step(day)], received)
        if day == DAYS // 2:
            bench.derive()
            assert "parent_missing" in gaps(world)
        if day == 20:
            assert bench.send([step(1)], received).stored == 1  # in another bucket, so stored as what it is
    bench.send([step(0)], RECEIVED + (DAYS + 1) * DAY)
    bench.derive()

    times = [*(RECEIVED + day * DAY for day in range(1, DAYS + 2)), RECEIVED + 20 * DAY]
    expected = Counter(partitions.bucket_at(CLASS, period, at).number for at in times)
    assert len(expected) == (2 if period == "month" else DAYS + 1)
    assert dict(bench.owner.execute("SELECT bucket, count(*) FROM event WHERE item = 1 GROUP BY 1").fetchall()) == expected
    assert bench.rows("SELECT cardinality(buckets) FROM trace") == [(len(expected),)]
    # Nothing disposes of buckets yet: what one holds is counted when it is closed, and until then not claimed.
    assert bench.rows(f"SELECT DISTINCT state, occurred_min, occurred_max, events FROM bucket WHERE class_no = {CLASS}") == [
        ("open", None, None, None)
    ]

    assert bench.rows("SELECT events FROM tally") == [(DAYS + 1,)]
    assert bench.rows("SELECT session_id, traces, tool_calls FROM session") == [(b"month", 1, DAYS)]
    assert bench.rows("SELECT started_at, ended_at FROM session") == [(HAPPENED, HAPPENED + (DAYS + 1) * DAY)]
    key = world.only_key()
    found = world.api.json(f"sessions/{key}/timeline")
    steps = [one for one in found["steps"] if one["tool"]]
    assert [one["at"][:10] for one in steps] == [f"{HAPPENED + day * DAY:%Y-%m-%d}" for day in range(1, DAYS + 1)]
    assert [one["received_at"][:10] for one in steps] == [f"{RECEIVED + day * DAY:%Y-%m-%d}" for day in range(1, DAYS + 1)]
    assert not {"parent_missing", "clock_after_receipt"} & gaps(world)
    events = world.api.json("events", session=key, limit="100")["results"]
    assert len(events) == len({one["id"] for one in events}) == DAYS + 1
    for query in ("session_id=month", "customer_id=ACME", "q=seen on day 30", "from=2019-05-10&to=2019-05-11"):
        assert f"/sessions/{key}" in text(operator.get(f"/?{query}"))
    page = text(operator.get(f"/sessions/{key}"))
    assert page.count("seen on day 1<") == 1
    first, last = RECEIVED + DAY, RECEIVED + (DAYS + 1) * DAY
    assert all(f"{at.day} {at:%b %Y} {at:%H:%M:%S}" in page.split("<dt>Received</dt>")[1].split("</dd>")[0] for at in (first, last))
