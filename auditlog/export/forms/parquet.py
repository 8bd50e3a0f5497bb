"""Owns `parquet/`: the events as typed columns, one file for each chunk of events, made from the events of the export."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

import msgspec

from auditlog.export.files import Draft, Files
from auditlog.export.forms.otlp import chunk_paths
from auditlog.item import ITEM_NAMES

GROUP: Final = 8 * 1024 * 1024  # bytes of lines that become one row group: what is in memory
_text = msgspec.json.Encoder().encode
# Column and type: text, time (UTC, microseconds), JSON as text, or a number. Times of spans are exact in their columns of nanoseconds.
COLUMNS: Final = {
    "id": "string", "item": "string", "batch": "int64", "bucket": "int32", "project": "int32", "occurred_at": "time", "received_at": "time",
    "trace_id": "string", "span_id": "string", "parent_span_id": "string", "name": "string", "kind": "int64",
    "start_unix_nano": "uint64", "end_unix_nano": "uint64", "status_code": "int64", "status_message": "string",
    "severity_number": "int64", "severity_text": "string", "event_name": "string", "scope": "string", "scope_version": "string",
    "resource": "string", "attributes": "string", "body": "string", "span_events": "string", "links": "string", "original": "string",
}  # fmt: skip


class Sink(io.RawIOBase):
    """A draft as a file that is only ever appended to."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._draft.size

    def write(self, data: Any) -> int:
        with memoryview(data) as view:
            self._draft.add(view.tobytes())
            return view.nbytes


def write(files: Files) -> None:
    for number, path in enumerate(chunk_paths(files), 1):
        target = f"parquet/events/{number:05}.parquet"
        if not files.has(target):
            table(files, target, COLUMNS, (_row(line) for line in _lines(files, path)))


def _lines(files: Files, path: str) -> Iterator[bytes]:
    with (files.folder / path).open("rb") as file:
        for line in file:
            files.step()
            yield line


def table(files: Files, target: str, columns: dict[str, str], rows: Iterable[dict[str, Any]]) -> None:
    """One file. Its bytes depend on the rows and the version of pyarrow alone."""
    import pyarrow as pa  # here: 0.1 s and 60 MB of memory that no other process needs
    from pyarrow import parquet

    kinds = {"time": pa.timestamp("us", tz="UTC"), "list": pa.list_(pa.string()), "money": pa.decimal128(38, 12)}
    schema = pa.schema([(name, kinds.get(kind) or getattr(pa, kind)()) for name, kind in columns.items()])
    draft = Draft(files)
    with parquet.ParquetWriter(Sink(draft), schema, compression="zstd") as writer:
        group: list[dict[str, Any]] = []
        size = 0
        for row in rows:
            group.append(row)
            size += sum(len(value) for value in row.values() if isinstance(value, str))
            if size > GROUP:
                writer.write_table(pa.Table.from_pylist(group, schema=schema))
                group, size = [], 0
        if group:
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
    draft.keep(target, None)


def _row(line: bytes) -> dict[str, Any]:
    event = msgspec.json.decode(line)
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {name: event[name] for name in ("id", "batch", "bucket", "project", "trace_id", "span_id")}
    row |= {"item": ITEM_NAMES[event["item"]], "occurred_at": moment(event["occurred_at"]), "received_at": moment(event["received_at"])}
    if "rest" in event:
        row["original"] = event["rest"]
    elif "otlp" in event:
        row["original"] = _text(event["otlp"]).decode()
        row |= _item(event["otlp"])
    return row


def moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _item(document: dict[str, Any]) -> dict[str, Any]:
    """Columns of a span or log record from its OTLP/JSON."""
    span = "resourceSpans" in document
    (group,) = document["resourceSpans" if span else "resourceLogs"]
    (part,) = group["scopeSpans" if span else "scopeLogs"]
    (one,) = part["spans" if span else "logRecords"]
    scope, status = part.get("scope", {}), one.get("status", {})
    return {
        "parent_span_id": one.get("parentSpanId"), "name": one.get("name", "" if span else None),
        "kind": one.get("kind", 0 if span else None),
        "start_unix_nano": int(one.get("startTimeUnixNano") or one.get("timeUnixNano") or 0),
        "end_unix_nano": int(one.get("endTimeUnixNano", 0)) if span else None,
        "status_code": status.get("code"), "status_message": status.get("message"), "severity_number": one.get("severityNumber"),
        "severity_text": one.get("severityText"), "event_name": one.get("eventName"),
        "scope": scope.get("name"), "scope_version": scope.get("version"),
        "resource": pairs(group.get("resource", {}).get("attributes", [])), "attributes": pairs(one.get("attributes", [])),
        "body": value(one["body"]) if "body" in one else None,
        "span_events": _text(one["events"]).decode() if "events" in one else None,
        "links": _text(one["links"]).decode() if "links" in one else None,
    }  # fmt: skip


def pairs(attributes: list[dict[str, Any]]) -> str:
    """Attributes as the text of a JSON object. A key that was sent twice stands in it twice: nothing is lost."""
    said = (_text(one["key"]).decode() + ":" + (_WITHHELD if "withheld" in one else value(one.get("value", {}))) for one in attributes)
    return "{" + ",".join(said) + "}"


_WITHHELD: Final = '{"withheld":true}'


def value(given: dict[str, Any]) -> str:
    """A value of OTLP/JSON as plain JSON; bytes stay base64, integers are written as numbers."""
    for kind, found in given.items():
        if kind == "intValue":
            return str(int(found))
        if kind == "arrayValue":
            return "[" + ",".join(map(value, found.get("values", []))) + "]"
        if kind == "kvlistValue":
            return pairs(found.get("values", []))
        return _WITHHELD if kind == "withheld" else _text(found).decode()
    return "null"
