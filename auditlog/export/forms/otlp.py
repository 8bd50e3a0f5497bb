"""Owns `otlp/`: spans and log records as files of OTLP/JSON lines, one request a line, made from the events of the export."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from auditlog.errors import Problem
from auditlog.export.files import Chunks, Files
from auditlog.item import LOG, SPAN

REQUEST: Final = 1024 * 1024  # bytes of one request; an item that is larger is a request by itself. Collectors take 20 MiB


class _Line(msgspec.Struct):
    """What is needed of an event's line."""

    item: int
    otlp: msgspec.Raw = msgspec.Raw(b"")


class Place(NamedTuple):
    """Of a line among the events: chunk and line, from 0."""

    chunk: int
    line: int


_read = msgspec.json.Decoder(_Line).decode
_SIGNALS: Final = (("traces", SPAN, b'{"resourceSpans":['), ("logs", LOG, b'{"resourceLogs":['))


def write(files: Files) -> None:
    for signal, item, opening in _SIGNALS:
        chunks = Chunks(files, f"otlp/{signal}")
        if chunks.done:
            continue
        after = Place(*chunks.at) if chunks.at else Place(-1, -1)
        request: list[bytes] = []
        size = 0
        at = after
        for place, line in lines(files, after):
            found = _read(line)
            if found.item != item or not found.otlp:
                continue
            one = bytes(found.otlp)
            if not (one.startswith(opening) and one.endswith(b"]}")):
                raise Problem("internal", f"The event at {place} is not written as OTLP/JSON is.")
            if request and size + len(one) > REQUEST:
                chunks.add(opening + b",".join(request) + b"]}\n", at=at)
                request, size = [], 0
            request.append(one[len(opening) : -2])
            size, at = size + len(one), place
        if request:
            chunks.add(opening + b",".join(request) + b"]}\n", at=at)
        chunks.finish()


def lines(files: Files, after: Place) -> Iterator[tuple[Place, bytes]]:
    """Every line of the events that are written, behind a place."""
    for chunk, path in enumerate(chunk_paths(files)):
        if chunk < after.chunk:
            continue
        with (files.folder / path).open("rb") as file:
            for number, line in enumerate(file):
                files.step()
                if (chunk, number) > after:
                    yield Place(chunk, number), line


def chunk_paths(files: Files) -> list[str]:
    return [one.path for one in files.all() if one.path.startswith("events/")]
