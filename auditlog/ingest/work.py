"""Owns the threads that decode and write: few, each with a Writer and a database connection of its own."""

from __future__ import annotations

import contextvars
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

from auditlog import metrics
from auditlog.errors import Problem
from auditlog.store import server
from auditlog.store.connect import writer_connection
from auditlog.store.writer import Writer

THREADS: Final = 2  # per process: one works while the other waits for its COMMIT; more cost CPU per span
ANSWER_WITHIN: Final = 6.0  # seconds; the whole patience of an exporter is about ten, retries included

T = TypeVar("T")


def too_slow() -> Problem:
    return Problem("overloaded", "The store did not take the batch in time; send it again.")


class Work:
    """A pool whose jobs get the Writer of their thread."""

    def __init__(self, threads: int = THREADS, name: str = "ingest") -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._local = threading.local()
        _pools.add(self)

    def submit(self, job: Callable[[Writer], T]) -> Future[T]:
        return self._pool.submit(contextvars.copy_context().run, self._run, job)  # so that what is logged there has the request's trace

    def waiting(self) -> int:
        """Jobs that no thread has begun."""
        return self._pool._work_queue.qsize()

    def wait(self, job: Callable[[Writer], T]) -> T:
        """Its result. Raises Problem after too long: not begun, it never will be; begun, it may still commit: a resend is a duplicate."""
        future = self.submit(job)
        try:
            return future.result(ANSWER_WITHIN)
        except TimeoutError:
            if future.done():
                raise  # the job's own
            future.cancel()
            raise too_slow() from None

    def _run(self, job: Callable[[Writer], T]) -> T:
        writer = getattr(self._local, "writer", None)
        if writer is None:
            writer = self._local.writer = Writer(writer_connection, anyway=server.allowed())
        return job(writer)


_pools: Final[weakref.WeakSet[Work]] = weakref.WeakSet()
metrics.observe("auditlog.ingest.queue.depth", lambda: sum(pool.waiting() for pool in list(_pools)))
