"""Owns `csv/`: sessions and actions as files for a spreadsheet, in which no cell acts, and which says where a cell was changed for that."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from auditlog.export import table
from auditlog.export.files import Draft, Files
from auditlog.export.forms.sessions import COLUMNS, rows

ALTERED = "altered"  # column: the names of those before whose text an apostrophe was put


def write(files: Files) -> None:
    for kind, columns in COLUMNS.items():
        if files.has(f"csv/{kind}.csv"):
            continue
        draft = Draft(files)
        draft.add((table.BOM + table.line([*columns, ALTERED])).encode())
        for row in rows(files, kind):
            values = {name: _value(row[name], of) for name, of in columns.items()}
            draft.add(table.line([*values.values(), [name for name, value in values.items() if _acts(value)]]).encode())
        draft.keep(f"csv/{kind}.csv", None)


def _value(value: Any, of: str) -> table.Value:
    return Decimal(value) if of == "money" and value is not None else value


def _acts(value: table.Value) -> bool:
    text = "; ".join(value) if isinstance(value, list) else value
    return isinstance(text, str) and table.guarded(text) != text
