"""Owns the Celery tasks: each fetches, calls one stage, and returns."""

from __future__ import annotations

import logging
from typing import Any

from django.dispatch import receiver

from auditlog import jobs, verifications
from auditlog.celery import app
from auditlog.disclosure import exports, work
from auditlog.platform import first_run
from auditlog.search import evidence
from auditlog.web.handed import Pages

logger = logging.getLogger(__name__)


@app.task(name="auditlog.tasks.run_job")
def run_job(job_id: int) -> None:
    jobs.run(job_id)


@app.task(name="auditlog.tasks.hint_open_jobs")
def hint_open_jobs() -> None:
    for job_id in jobs.open_jobs().order_by("due_at").values_list("pk", flat=True)[:1000]:
        jobs.hint(job_id)


@app.task(name="auditlog.tasks.verify_when_due")
def verify_when_due() -> None:
    if verifications.due() and not jobs.open_or_running("verify"):
        jobs.add("verify")


@app.task(name="auditlog.tasks.run_export")
def run_export(number: int) -> None:
    if work.work(number, Pages()):
        run_export.delay(number)  # behind whatever waits meanwhile


@receiver(exports.waiting)
def hint_export(*, number: int, **_: Any) -> None:
    try:
        run_export.delay(number)
    except run_export.OperationalError as error:
        # The broker is away. The row is committed, the periodic hint finds it.
        logger.warning("export.hint_failed", extra={"export": number, "error_kind": type(error).__name__})


@app.task(name="auditlog.tasks.hint_open_exports")
def hint_open_exports() -> None:
    for number in work.open_exports(evidence.raw_connection()):
        hint_export(number=number)


@app.task(name="auditlog.tasks.tidy_exports")
def tidy_exports() -> None:
    work.tidy()


@app.task(name="auditlog.tasks.open_buckets")
def open_buckets() -> None:
    made = first_run.open_buckets()
    if made:
        logger.info("buckets.opened", extra={"buckets": made})
