"""Owns counting what is asked of the database: through Django and beside it, because evidence is read on the connection below Django's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg


class Asked:
    """The statements of a block of code with their parameters, and the seconds until they had answered."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.parameters: list[tuple[Any, ...]] = []
        self.seconds = 0.0

    def __len__(self) -> int:
        return len(self.statements)


@contextmanager
def asked() -> Iterator[Asked]:
    """Every statement of this process ends in psycopg's Cursor.execute, whoever sends it."""
    found = Asked()
    execute = psycopg.Cursor.execute

    def counted(self: Any, query: Any, *arguments: Any, **settings: Any) -> Any:
        began = time.perf_counter()
        try:
            return execute(self, query, *arguments, **settings)
        finally:
            found.seconds += time.perf_counter() - began
            found.statements.append(str(query))
            given = arguments[0] if arguments else None
            found.parameters.append(tuple(given) if isinstance(given, list | tuple) else ())

    psycopg.Cursor.execute = counted  # type: ignore[method-assign]
    try:
        yield found
    finally:
        psycopg.Cursor.execute = execute  # type: ignore[method-assign]
