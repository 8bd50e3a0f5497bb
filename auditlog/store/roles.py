"""Owns that the roles of `roles.sql` exist and have exactly their rights after every migration."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol


class _Cursor(Protocol):
    def execute(self, query: Any, /) -> Any: ...


def apply(cursor: _Cursor) -> None:
    """Creates roles and grants rights; may be repeated. The owner must have CREATEROLE; PostgreSQL's error says so if not."""
    cursor.execute((Path(__file__).parent / "roles.sql").read_text())
