"""Owns the life of a job's row: added, taken by one worker, done or failed, tried again.

1. add() inserts the row and, after COMMIT, sends a hint. Killed between: the row is found by the periodic hint.
2. take() turns `pending` into `running` by a conditional UPDATE: of two workers with the same hint one gets it.
3. done or failed. Killed in between: the row stays `running` until its lease is over, then it is taken again.
   After MAX_ATTEMPTS it fails for good. Attempts are counted here, not by the broker: pgmq cannot tell a
   redelivery.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from auditlog.models import Job

logger = logging.getLogger(__name__)

MAX_ATTEMPTS: Final = 3
LEASE: Final = timedelta(seconds=1800)  # longer than a task may run (auditlog.celery.HARD_LIMIT)
RETRY_AFTER: Final = timedelta(seconds=60)

Work = Callable[[dict[str, Any]], Any]
KINDS: Final[dict[str, Work]] = {}


def kind(name: str) -> Callable[[Work], Work]:
    """Registers what does a kind of job. It may be run again after a kill: it must be idempotent. Returns JSON or None."""

    def register(work: Work) -> Work:
        KINDS[name] = work
        return work

    return register


def add(kind_: str, args: dict[str, Any] | None = None) -> Job:
    if kind_ not in KINDS:
        raise ValueError(f"no job is called {kind_!r}; there are {', '.join(sorted(KINDS)) or 'none'}")
    job = Job.objects.create(kind=kind_, args=args or {})
    transaction.on_commit(lambda: hint(job.pk))
    return job


def hint(job_id: int) -> None:
    from auditlog.tasks import run_job

    try:
        run_job.delay(job_id)
    except run_job.OperationalError as error:
        # The broker is away. The row is committed, the periodic hint finds it.
        logger.warning("job.hint_failed", extra={"job": job_id, "error_kind": type(error).__name__})


def open_jobs() -> QuerySet[Job]:
    """What a worker may take now: due and pending, or running for longer than anything may run."""
    now = timezone.now()
    return Job.objects.filter(Q(state=Job.State.PENDING, due_at__lte=now) | Q(state=Job.State.RUNNING, started_at__lt=now - LEASE))


def open_or_running(kind_: str) -> bool:
    """Whether a job of this kind waits, or is worked on."""
    return Job.objects.filter(kind=kind_, state__in=(Job.State.PENDING, Job.State.RUNNING)).exists()


def take(job_id: int) -> Job | None:
    taken = open_jobs().filter(pk=job_id).update(state=Job.State.RUNNING, started_at=timezone.now(), attempts=F("attempts") + 1)
    return Job.objects.get(pk=job_id) if taken else None


def run(job_id: int) -> None:
    job = take(job_id)
    if job is None:
        return
    mine = Job.objects.filter(pk=job.pk, state=Job.State.RUNNING, attempts=job.attempts)  # not if taken again since
    if job.attempts > MAX_ATTEMPTS:
        mine.update(state=Job.State.FAILED, finished_at=timezone.now(), error="The worker died each time this job was tried.")
        logger.error("job.failed", extra={"job": job.pk, "kind": job.kind, "attempts": job.attempts})
        return
    try:
        result = KINDS[job.kind](job.args)
    except Exception as error:  # whatever a job raises belongs into its row, where a person sees it
        last = job.attempts >= MAX_ATTEMPTS
        mine.update(
            state=Job.State.FAILED if last else Job.State.PENDING,
            finished_at=timezone.now() if last else None,
            due_at=timezone.now() + RETRY_AFTER,
            error=f"{type(error).__name__}: {error}",
        )
        logger.exception("job.attempt_failed", extra={"job": job.pk, "kind": job.kind, "attempts": job.attempts})
        return
    mine.update(state=Job.State.DONE, finished_at=timezone.now(), result=result, error="")
    logger.info("job.done", extra={"job": job.pk, "kind": job.kind, "attempts": job.attempts})


@kind("verify")
def _verify(_: dict[str, Any]) -> dict[str, Any] | None:
    from auditlog import verifications

    return verifications.work()


@kind("open_buckets")
def _open_buckets(_: dict[str, Any]) -> list[int]:
    from auditlog.platform import first_run

    return first_run.open_buckets()
