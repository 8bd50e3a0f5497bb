"""Owns the Celery application: its broker, its limits, and the periodic tasks.

A job is a row of `job` first; the message is only a hint to look at it, so a broker may lose or double messages.
Nothing on the way of evidence imports this module.
"""

from __future__ import annotations

import os
from typing import Any, Final

from celery import Celery
from celery.signals import beat_init, worker_process_init, worker_ready

from auditlog import conf
from auditlog.platform import logs, process, telemetry
from auditlog.store import connect

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "auditlog.settings")

# A message becomes visible again after this time whether or not its task still runs (pgmq does not extend it), so a
# task must be over before: the hard limit kills its process.
VISIBILITY: Final = 1800
SOFT_LIMIT: Final = 1500
HARD_LIMIT: Final = 1560
HINT_EVERY: Final = 30.0
TIDY_EVERY: Final = 300.0  # removes what was cancelled or has expired
PARTITIONS_EVERY: Final = 3600.0
VERIFY_EVERY: Final = 900.0  # looks whether the daily verification is to be begun, or to be gone on with


def _broker() -> dict[str, Any]:
    url = conf.get("AUDITLOG_BROKER_URL")
    if url:
        options = {"visibility_timeout": VISIBILITY} if url.startswith("redis") else {}
        return {"broker_url": url, "broker_transport_options": options}
    return {
        "broker_url": "pgmq://localhost",
        "broker_transport_options": {
            "conn_string": connect.url("web"),  # the URL form cannot say where a Unix socket is
            "init_extension": False,  # it is no extension here; its tables are made by auditlog.platform.rights
            "visibility_timeout": VISIBILITY,
            "polling_interval": 1.0,
            "wait_time_seconds": 0,  # its long poll would run ten queries a second inside PostgreSQL
            "pool_size": 3,
            "pool_timeout": 5,
        },
    }


app = Celery("auditlog", include=["auditlog.tasks"])
app.conf.update(
    **_broker(),
    task_default_queue="auditlog",
    task_serializer="json",
    accept_content=["json"],
    result_backend=None,
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_time_limit=HARD_LIMIT,
    task_soft_time_limit=SOFT_LIMIT,
    worker_prefetch_multiplier=1,
    worker_concurrency=1,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    timezone="UTC",
    # No schedule file: one that was half written by a kill stops beat; all our periods are short
    beat_scheduler="celery.beat:Scheduler",
    beat_schedule={
        # expires: while no worker runs, hints must not pile up
        "hint open jobs": {"task": "auditlog.tasks.hint_open_jobs", "schedule": HINT_EVERY, "options": {"expires": HINT_EVERY}},
        "hint open exports": {"task": "auditlog.tasks.hint_open_exports", "schedule": HINT_EVERY, "options": {"expires": HINT_EVERY}},
        "tidy exports": {"task": "auditlog.tasks.tidy_exports", "schedule": TIDY_EVERY, "options": {"expires": TIDY_EVERY}},
        "verify when due": {"task": "auditlog.tasks.verify_when_due", "schedule": VERIFY_EVERY, "options": {"expires": VERIFY_EVERY}},
        "open buckets ahead": {"task": "auditlog.tasks.open_buckets", "schedule": PARTITIONS_EVERY},
    },
)


@worker_ready.connect
def _worker_ready(**_: Any) -> None:
    _ready("worker")


@beat_init.connect
def _beat_ready(**_: Any) -> None:
    _ready("beat")


def _ready(role: str) -> None:
    logs.catch()
    telemetry.start(role)
    process.ready()


@worker_process_init.connect
def _child(**_: Any) -> None:
    # A task's process would outlive a worker killed with -9 and go on working on a job that another has taken up
    process.die_with_parent()
    process.collect_seldom()  # exports and verifications read millions of events
