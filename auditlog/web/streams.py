"""Owns files of rows that are read and sent in portions: as CSV and as JSON, of any length, each with a stated end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from django.db import InterfaceError, OperationalError

from auditlog.errors import Problem
from auditlog.export import table
from auditlog.search.bounds import bounded

Row = dict[str, Any]
Page = tuple[list[Row], str | None]
"""Rows, and the cursor of those behind them; None: there are no more."""
_GONE: Final = "The database stopped answering."


def portions(read: Callable[[str | None], Page]) -> Iterator[list[Row] | str]:
    """All pages, one after the other, each in a transaction of its own; last, where it ended before they did, why.

    What goes wrong with the first is raised: then there is no file.
    """
    at = None
    while True:
        try:
            with bounded():
                rows, following = read(at)
        except (Problem, OperationalError, InterfaceError) as error:
            if at is None:
                raise
            yield f"Cut short: {error.message if isinstance(error, Problem) else _GONE} There may be more rows than these."
            return
        yield rows
        if following is None:
            return
        at = following


def as_csv(columns: Sequence[str], found: Iterator[list[Row] | str]) -> Iterator[bytes]:
    """A record a row, in the order of the columns."""
    yield (table.BOM + table.line(list(columns))).encode()
    for portion in found:
        lines = [[portion]] if isinstance(portion, str) else [[row[name] for name in columns] for row in portion]
        yield "".join(map(table.line, lines)).encode()


def as_json(about: Mapping[str, Any], found: Iterator[list[Row] | str], number: Callable[[object], str] | None = None) -> Iterator[bytes]:
    """`about` with the rows as `results`, and `cut_short`: why, or null. number: how what JSON does not know is written."""
    yield (json.dumps(about)[:-1] + ', "results": [').encode()
    cut, between = None, "\n"
    for portion in found:
        if isinstance(portion, str):
            cut = portion
            continue
        for row in portion:
            yield (between + json.dumps(row, default=number)).encode()
            between = ",\n"
    yield f'\n], "cut_short": {json.dumps(cut)}}}\n'.encode()
