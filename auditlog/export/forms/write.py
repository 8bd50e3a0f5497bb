"""Owns which forms an export may have besides its evidence; each is written after it, made of the same records and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final

import psycopg

from auditlog.errors import Problem
from auditlog.export.choice import Wish
from auditlog.export.files import Files
from auditlog.export.forms import otlp, parquet, sessions, sheets
from auditlog.store.reader import Secrets

EVIDENCE: Final = "jsonl"  # always there
FORMS: Final = ("html", "csv", "otlp", "parquet")
DEFAULT: Final = ["html"]
_OF_SESSIONS: Final = {"html", "csv", "parquet"}


def check(formats: Sequence[str], render: sessions.Renderer | None) -> None:
    """Raises Problem("parameter_invalid") for a form that there is not."""
    if unknown := sorted(set(formats) - {EVIDENCE, *FORMS}):
        raise Problem("parameter_invalid", f"There is no form {unknown[0]!r} of an export. There are: {', '.join((EVIDENCE, *FORMS))}.")
    if "html" in formats and render is None:
        raise Problem("parameter_invalid", "Pages were asked for where nothing can set them. Leave out the form html.")


def choose(conn: psycopg.Connection[Any], files: Files, wish: Wish) -> None:
    """What has to be known from the beginning."""
    if _OF_SESSIONS & set(wish.formats):
        sessions.choose(conn, files, wish)


def write(
    conn: psycopg.Connection[Any], secrets: Secrets, files: Files, wish: Wish, begun: dict[str, Any], render: sessions.Renderer | None
) -> None:
    """All that was asked for; after an interruption the rest of it."""
    if _OF_SESSIONS & set(wish.formats):
        held = sessions.Held(conn, secrets, wish, begun["size"])
        sessions.write(files, held, wish, begun["made_at"], render if "html" in wish.formats else None)
    if "csv" in wish.formats:
        sheets.write(files)
    if "otlp" in wish.formats:
        otlp.write(files)
    if "parquet" in wish.formats:
        parquet.write(files)
        for kind, columns in sessions.COLUMNS.items():
            if not files.has(f"parquet/{kind}.parquet"):
                parquet.table(files, f"parquet/{kind}.parquet", columns, (_typed(row, columns) for row in sessions.rows(files, kind)))


def _typed(row: dict[str, Any], columns: dict[str, str]) -> dict[str, Any]:
    made: dict[str, Callable[[Any], Any]] = {"time": parquet.moment, "money": Decimal}
    return {name: made[kind](row[name]) if kind in made and row[name] is not None else row[name] for name, kind in columns.items()}
