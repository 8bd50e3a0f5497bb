"""Owns that a real Celery worker and a real beat, over PostgreSQL as broker, do the jobs."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from kombu import pools

from auditlog import conf, jobs
from auditlog.celery import app
from auditlog.models import Job
from auditlog.platform import first_run
from tests.platform.test_supervisor import alive, eventually

pytestmark = pytest.mark.django_db(transaction=True)
Start = Callable[[], subprocess.Popen[bytes]]


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        log = (tmp_path / f"worker{len(started)}.log").open("wb")
        read, write = os.pipe()
        command = [sys.executable, "-m", "celery", "-A", "auditlog.celery", "worker", "--loglevel", "INFO"]
        env = os.environ | {"AUDITLOG_READY_FD": str(write), "AUDITLOG_DATABASE_ROLE": "web"}
        started.append(subprocess.Popen(command, cwd=conf.ROOT, env=env, stdout=log, stderr=log, pass_fds=(write,)))
        os.close(write)
        said, _, _ = select.select([read], [], [], 30)
        os.close(read)
        log.close()
        assert said, Path(log.name).read_text()
        return started[-1]

    yield start
    pools.reset()  # type: ignore[no-untyped-call]  # this process sent hints: its connections would keep the database from being dropped
    app.amqp._producer_pool = app._pool = None
    for child in started:
        child.terminate()
        try:
            child.wait(20)
        finally:
            child.kill()


def test_a_job_is_done_by_a_worker_that_holds_only_the_rights_of_pages(worker: Start) -> None:
    worker()
    first_run.ensure()
    row = jobs.add("open_buckets")
    eventually(lambda: Job.objects.get(pk=row.pk).state == Job.State.DONE)
    assert Job.objects.get(pk=row.pk).attempts == 1


def test_a_worker_that_is_killed_leaves_no_process_and_the_next_one_finds_the_job(worker: Start) -> None:
    child = worker()
    left = [process.pid for process in psutil.Process(child.pid).children(recursive=True)]
    assert left
    child.kill()
    child.wait()
    eventually(lambda: not [number for number in left if alive(number)])
    first_run.ensure()
    row = jobs.add("open_buckets")
    worker()
    eventually(lambda: Job.objects.get(pk=row.pk).state == Job.State.DONE)
