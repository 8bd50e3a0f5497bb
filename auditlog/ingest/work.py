"""Owns the threads that decode and write: few, each with a Writer and a database connection of its own; projects take turns at them."""

from __future__ import annotations

import contextvars
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

from auditlog import metrics
from auditlog.errors import Problem
from auditlog.ingest.gate import Place
from auditlog.store import server
from auditlog.store.connect import writer_connection
from auditlog.store.writer import Writer

THREADS: Final = 2  # per process: one works while the other waits for its COMMIT; more cost CPU per span
ANSWER_WITHIN: Final = 6.0  # seconds; the whole patience of an exporter is about ten, retries included

T = TypeVar("T")


def too_slow() -> Problem:
    return Problem("overloaded", "The store did not take the batch in time; send it again.")


class Work:
    """A pool whose jobs get the Writer of their thread. Of the projects with jobs that wait, each has one begun in its turn."""

    def __init__(self, threads: int = THREADS, name: str = "ingest") -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._waiting: dict[int, dict[Future[Any], Callable[[], Any]]] = {}  # by project; whose turn it is comes first
        _pools.add(self)

    def submit(self, job: Callable[[Writer], T], place: Place | None = None) -> Future[T]:
        """The job's result to come. `place`: left when the job has ended, be it that nobody waits for it any more, or is cancelled."""
        project = place.project if place else 0
        future: Future[T] = Future()
        run = partial(contextvars.copy_context().run, self._run, job)  # so that what is logged there has the request's trace
        with self._lock:
            self._waiting.setdefault(project, {})[future] = run

        def ended(future: Future[T]) -> None:
            if future.cancelled():
                self._drop(project, future)
            if place:
                place.leave()

        future.add_done_callback(ended)
        self._pool.submit(self._next)
        return future

    def waiting(self) -> int:
        """Jobs that no thread has begun."""
        with self._lock:
            return sum(len(jobs) for jobs in self._waiting.values())

    def wait(self, job: Callable[[Writer], T], place: Place | None = None) -> T:
        """Its result. Raises Problem after too long: not begun, it never will be; begun, it may still commit: a resend is a duplicate."""
        future = self.submit(job, place)
        try:
            return future.result(ANSWER_WITHIN)
        except TimeoutError:
            if future.done():
                return future.result()  # it ended just now, or it is the job's own
            future.cancel()
            raise too_slow() from None

    def _drop(self, project: int, future: Future[Any]) -> None:
        """Forgets a job that was cancelled, and with it the body that it holds."""
        with self._lock:
            waiting = self._waiting.get(project, {})
            waiting.pop(future, None)
            if not waiting:
                self._waiting.pop(project, None)

    def _next(self) -> None:
        """Runs one job of the project whose turn it is, which then is behind the others."""
        with self._lock:
            if not self._waiting:
                return  # the job for which this was called has been cancelled
            project = next(iter(self._waiting))
            waiting = self._waiting.pop(project)
            future = next(iter(waiting))
            job = waiting.pop(future)
            if waiting:
                self._waiting[project] = waiting
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = job()
        except BaseException as error:  # noqa: BLE001, as ThreadPoolExecutor has it: the error is for who waits
            future.set_exception(error)
        else:
            future.set_result(result)
        finally:
            del future, job  # else the error, its frame and the job that holds a body are a circle

    def _run(self, job: Callable[[Writer], T]) -> T:
        writer = getattr(self._local, "writer", None)
        if writer is None:
            writer = self._local.writer = Writer(writer_connection, anyway=server.allowed())
        return job(writer)


_pools: Final[weakref.WeakSet[Work]] = weakref.WeakSet()
metrics.observe("auditlog.ingest.queue.depth", lambda: sum(pool.waiting() for pool in list(_pools)))
