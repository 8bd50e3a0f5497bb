"""Owns how much one question may ask of the database: a transaction that only reads, and a time after which a statement ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, LiteralString

import psycopg
from django.db import OperationalError, connection, transaction

from auditlog import conf
from auditlog.errors import Problem

# Reading only is a second wall: whatever a parameter should ever bring about, it changes nothing. The planner is told what holds for
# questions of a few rows: pages of an index are in memory or on a disk without arms, and starting helpers or a compiler takes longer
# than the answer (docs/bench: amounts within 30 days, 62 ms with helpers, 1 ms without).
_BOUNDS: Final[LiteralString] = """
    SELECT set_config('statement_timeout', %s, true), set_config('transaction_read_only', 'on', true),
      set_config('random_page_cost', '1.1', true), set_config('max_parallel_workers_per_gather', '0', true),
      set_config('jit', 'off', true)"""


@contextmanager
def bounded() -> Iterator[None]:
    """Every statement inside ends after AUDITLOG_QUERY_TIMEOUT seconds. Raises Problem("query_timeout")."""
    seconds = conf.get("AUDITLOG_QUERY_TIMEOUT")
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(_BOUNDS, [f"{seconds}s"])
            yield
    except (OperationalError, psycopg.errors.QueryCanceled) as error:
        if not isinstance(error, psycopg.errors.QueryCanceled) and not isinstance(error.__cause__, psycopg.errors.QueryCanceled):
            raise
        raise Problem(
            "query_timeout",
            f"The database did not find the answer in {seconds} seconds. Nothing was lost. Narrow the time range, or add a filter.",
        ) from None


@contextmanager
def shorter(seconds: int) -> Iterator[None]:
    """Inside `bounded`, in a savepoint of the caller's: something that the answer can do without. Raises Problem("query_timeout")."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('statement_timeout'), set_config('statement_timeout', %s, true)", [f"{seconds}s"])
        before = cursor.fetchone()[0]
    try:
        yield
    except OperationalError as error:
        if not isinstance(error.__cause__, psycopg.errors.QueryCanceled):
            raise
        raise Problem("query_timeout", f"The database did not find this in {seconds} seconds. Nothing was lost.") from None
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [before])
