"""Owns the Celery tasks: each fetches, calls one stage, and returns."""

from __future__ import annotations

import logging

from auditlog import jobs, verifications
from auditlog.celery import app
from auditlog.platform import first_run

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


@app.task(name="auditlog.tasks.open_buckets")
def open_buckets() -> None:
    made = first_run.open_buckets()
    if made:
        logger.info("buckets.opened", extra={"buckets": made})
