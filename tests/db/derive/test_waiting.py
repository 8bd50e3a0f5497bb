"""Owns that what waits for the background pass is told, of one project and of all, and as gauges whatever the database does."""

from __future__ import annotations

import secrets
import threading

import psycopg
import pytest

from auditlog.derive.waiting import Waiting, waiting
from auditlog.item import STRING, Context, Span
from auditlog.platform import gauges
from auditlog.platform.gauges import Gauges
from auditlog.store.writer import Project
from tests.db.derived import Bench

pytestmark = pytest.mark.django_db  # only so that pytest-django makes the database; these tests commit over connections of their own


def asked(bench: Bench, project: Project | None = None) -> Waiting:
    return waiting(bench.owner.cursor(), 1, project.project_id if project else None)


def span() -> Span:
    return Span(Context(), secrets.token_bytes(16), secrets.token_bytes(8), "x", 1, 2, [("session.id", STRING, "s-1")])


def test_what_waits_is_told_of_each_project_and_of_all_together(bench: Bench, owner: psycopg.Connection[object]) -> None:
    other = Bench(owner)
    assert asked(bench) == Waiting(0, 0, 0, 0, 0)
    bench.send([span()])
    for _ in range(2):
        other.send([span()])
    other.close()
    assert [asked(bench, project).pending for project in (bench.project, other.project, None)] == [1, 2, 3]
    assert 0 < asked(bench, bench.project).lag <= asked(bench).lag
    other.owner.execute(
        "INSERT INTO derive_failure (edition, batch_no, project_id, attempts, error, failed_at) "
        "SELECT 1, max(batch_no), project_id, 3, '', now() FROM batch WHERE project_id = %s GROUP BY project_id",
        (other.project.project_id,),
    )
    assert [asked(bench, project)[:3:2] for project in (bench.project, other.project, None)] == [(1, 0), (1, 1), (2, 1)]


def test_summaries_that_wait_and_words_that_wait_are_told(bench: Bench) -> None:
    bench.send([span()])
    bench.derive()
    assert asked(bench)[1:] == (0, 0, 0, 0)
    bench.owner.execute("UPDATE session SET stale_since = now(), text_due = now() - interval '90 seconds'")
    assert asked(bench).stale == 1 and 90 <= asked(bench).text_lag < 1000
    assert asked(bench, Project(1, b"", 1, "month")) == Waiting(0, 0, 0, 0, 0)
    bench.owner.execute("UPDATE session SET text_due = now() + interval '90 seconds'")
    assert asked(bench).text_lag == 0


def test_the_gauges_are_what_the_pages_role_reads_and_each_is_defined(bench: Bench) -> None:
    bench.send([span()])
    found = gauges.read()
    assert found["auditlog.derive.pending"] == 1
    seen: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("auditlog.metrics.observe", lambda name, read: seen.append(name))
        gauges.register()
    assert sorted([*found, "auditlog.verification.age", "auditlog.verification.faults"]) == sorted(seen)  # nothing was verified yet


def test_a_database_that_is_away_leaves_the_gauges_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise psycopg.OperationalError

    monkeypatch.setattr(gauges, "connect", away)
    assert gauges.read() == {}
    assert Gauges().value("auditlog.derive.lag") is None


def test_a_database_that_hangs_is_asked_once_and_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    released, times = threading.Event(), []

    def hangs() -> dict[str, float]:
        times.append(1)
        released.wait()
        return {"auditlog.derive.lag": 3.0}

    monkeypatch.setattr(gauges, "read", hangs)
    monkeypatch.setattr(gauges, "_WITHIN", 0.05)
    found = Gauges()
    assert [found.value("auditlog.derive.lag") for _ in range(3)] == [None, None, None]
    assert len(times) == 1
    released.set()
    assert found._asked is not None and found._asked.result() == {"auditlog.derive.lag": 3.0}
    assert found.value("auditlog.derive.lag") == 3.0
