"""Owns the promises of `auditlog.jobs`: a row first, taken by one worker, tried again, never lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from auditlog import jobs
from auditlog.models import Job

pytestmark = pytest.mark.django_db


@pytest.fixture
def calls() -> Iterator[list[dict[str, Any]]]:
    seen: list[dict[str, Any]] = []

    @jobs.kind("test")
    def work(args: dict[str, Any]) -> int:
        seen.append(args)
        if args.get("fails"):
            raise RuntimeError("as asked")
        return 7

    yield seen
    del jobs.KINDS["test"]


def job(**fields: Any) -> Job:
    return Job.objects.create(kind="test", **fields)


def test_a_job_runs_once_however_often_it_is_hinted(calls: list[dict[str, Any]]) -> None:
    row = job(args={"a": 1})
    jobs.run(row.pk)
    jobs.run(row.pk)
    row.refresh_from_db()
    assert calls == [{"a": 1}]
    assert (row.state, row.attempts, row.result) == ("done", 1, 7)


def test_a_job_that_fails_says_why_and_is_due_again_later(calls: list[dict[str, Any]]) -> None:
    row = job(args={"fails": True})
    jobs.run(row.pk)
    row.refresh_from_db()
    assert (row.state, row.error) == ("pending", "RuntimeError: as asked")
    assert row.due_at > timezone.now()
    jobs.run(row.pk)
    assert len(calls) == 1


def test_after_three_attempts_it_has_failed(calls: list[dict[str, Any]]) -> None:
    row = job(args={"fails": True})
    for _ in range(5):
        jobs.run(row.pk)
        Job.objects.filter(pk=row.pk).update(due_at=timezone.now())
    row.refresh_from_db()
    assert (row.state, row.attempts, len(calls)) == ("failed", 3, 3)


def test_a_job_whose_worker_was_killed_is_taken_again_when_nothing_can_still_run_it(calls: list[dict[str, Any]]) -> None:
    row = job(state=Job.State.RUNNING, attempts=1, started_at=timezone.now() - timedelta(seconds=60))
    jobs.run(row.pk)
    assert calls == []
    Job.objects.filter(pk=row.pk).update(started_at=timezone.now() - jobs.LEASE - timedelta(seconds=1))
    jobs.run(row.pk)
    row.refresh_from_db()
    assert (row.state, row.attempts) == ("done", 2)


def test_a_job_that_kills_its_worker_each_time_ends_as_failed(calls: list[dict[str, Any]]) -> None:
    row = job(state=Job.State.RUNNING, attempts=3, started_at=timezone.now() - jobs.LEASE - timedelta(seconds=1))
    jobs.run(row.pk)
    row.refresh_from_db()
    assert row.state == "failed"
    assert calls == []


def test_a_job_of_an_unknown_kind_is_not_added() -> None:
    with pytest.raises(ValueError, match="open_buckets"):
        jobs.add("nonsense")


def test_the_hint_is_sent_only_after_commit(
    calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    hinted: list[int] = []
    monkeypatch.setattr(jobs, "hint", hinted.append)
    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        row = jobs.add("test")
        assert hinted == []
    assert hinted == [row.pk]
