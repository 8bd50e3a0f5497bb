"""Owns how files of OTLP/JSON, as file exporters write them, become requests: opened, split into documents, decoded, stored in batches.

The same decoding, quarantine and writing as for what exporters send. Constant memory whatever the size of a file; giving a file
again stores nothing twice, so whatever interrupts it, the same call goes on.
"""

from __future__ import annotations

import gzip
import io
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import IO, Any, Final, NamedTuple

import msgspec
import zstandard

from auditlog.errors import Problem
from auditlog.ingest import declared, outcome
from auditlog.ingest.compression import too_large
from auditlog.ingest.decode import Decoded
from auditlog.ingest.receive import Store, as_problem, decoded
from auditlog.item import LOG, SPAN, Item, Unreadable
from auditlog.store.writer import Project, Written

OTLP_FILE: Final = 6  # column batch.protocol
MEMBERS: Final = {"resourceSpans": SPAN, "resourceLogs": LOG}
_BATCH_ITEMS: Final = 2_000  # documents are gathered until they have so many items,
_BATCH_BYTES: Final = 4 * 1024 * 1024  # or so many bytes
_WINDOW: Final = 128 * 1024 * 1024  # of a file that zstd --long wrote
_SLICE: Final = 512  # zstd expands at most 32,768 times
_SKIPPED: Final = 1024 * 1024  # bytes of a line that is too long, read at once
_AGAIN: Final = (1, 2, 4, 8, 15, 30)  # seconds between tries while the store is away
_document: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Document(NamedTuple):
    """One OTLP/JSON request of a file, beginning in this line (from 1); or why there is none."""

    line: int
    body: bytes
    problem: Problem | None = None


class Trouble(NamedTuple):
    """What a person should look at: a document that was refused, or items of it that are in quarantine or were left out."""

    file: str
    line: int
    code: str
    message: str


class Counts(msgspec.Struct):
    """documents and bytes (after decompression) that were read, refused documents; the others count items, `items` the acknowledged."""

    documents: int = 0
    bytes: int = 0
    items: int = 0
    stored: int = 0
    duplicates: int = 0
    quarantined: int = 0
    own: int = 0
    refused: int = 0


# --- from a file to documents ---------------------------------------------------------------------------------------------------


class _Zstd(io.RawIOBase):
    """A stream of zstd frames, read one after the other; unlike the library's own it raises where the last is cut off."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._context = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
        self._frame: Any = None
        self._ready = memoryview(b"")
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            part = self._rest or self._source.read(_SLICE)
            self._rest = b""
            if not part:
                if self._frame is not None:
                    raise EOFError("the last zstd frame is cut off")
                return 0
            self._frame = self._frame or self._context.decompressobj()
            self._ready = memoryview(self._frame.decompress(part))
            if self._frame.eof:
                self._rest, self._frame = self._frame.unused_data, None
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size


def expanded(source: io.BufferedReader) -> IO[bytes]:
    """The content of a file, gzip and zstd told by their first bytes."""
    head = source.peek(4)[:4]
    if head[:2] == b"\x1f\x8b":
        return gzip.open(source)  # type: ignore[return-value]
    if head == b"\x28\xb5\x2f\xfd":
        return io.BufferedReader(_Zstd(source), 1 << 20)
    return source


def documents(file: IO[bytes], limit: int) -> Iterator[Document]:
    """One a line, or written over several of which the first begins with { and the last with } without a space before it.

    limit: bytes of a document. A broken one ends at the next line that begins with {, so that those behind it are read.
    """
    parts: list[bytes] = []
    first = size = 0
    for number, line in _lines(file, limit):
        if line is None:
            if parts:
                yield Document(first, b"".join(parts), _unfinished())
            parts = []
            yield Document(number, b"", too_large(limit))
            continue
        if parts and line[:1] == b"{":
            yield Document(first, b"".join(parts), _unfinished())
            parts = []
        if not parts:
            if not line.strip():
                continue
            if line[:1] != b"{" or _is_whole(line):
                yield Document(number, line, None if line.lstrip()[:1] == b"{" else _no_document())
                continue
            first, size = number, 0
        parts.append(line)
        size += len(line)
        if size > limit:
            yield Document(first, b"", too_large(limit))
            parts = []
        elif len(parts) > 1 and line[:1] == b"}":
            yield Document(first, b"".join(parts))
            parts = []
    if parts:
        yield Document(first, b"".join(parts), _unfinished())


def _lines(file: IO[bytes], limit: int) -> Iterator[tuple[int, bytes | None]]:
    """Each line with its number; None for one that is longer than the limit."""
    number = 0
    while line := file.readline(limit + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if len(line) > limit:
            while line and not line.endswith(b"\n"):
                line = file.readline(_SKIPPED)
            yield number, None
        else:
            yield number, line


def _is_whole(line: bytes) -> bool:
    """Whether it is a document by itself, be it a broken one: what begins with { and ends with } in one line is no part of another."""
    return len(line.rstrip()) > 1 and line.rstrip().endswith(b"}")


def _unfinished() -> Problem:
    return Problem("body_truncated", "The document does not end: it was cut off where the file was written or copied.")


def _no_document() -> Problem:
    return Problem("body_undecodable", "This is no OTLP/JSON document; each begins with { and has resourceSpans or resourceLogs.")


# --- from documents to what is stored -------------------------------------------------------------------------------------------


def read(body: bytes) -> list[Decoded]:
    """The items of a document, each signal's. Raises Problem where nothing can be read; what is unreadable in it is among the items."""
    try:
        members = _document.decode(body)
        signals = [signal for name, signal in MEMBERS.items() if name in members]
        others = sorted(name for name in members if name in ("resourceMetrics", "resourceProfiles"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        signals, others = [signal for name, signal in MEMBERS.items() if f'"{name}"'.encode() in body], []
    if others and not signals:
        raise Problem("signal_unsupported", f"{others[0]} are not stored here; give traces and logs only.")
    if not signals:
        raise _no_document()
    return [decoded(body, signal, "json") for signal in signals]


class Batch(NamedTuple):
    """What was stored in one transaction: the documents of a file that begin in lines first to last, and their receipt."""

    file: str
    first: int
    last: int
    receipt: str
    counts: Counts  # of all files up to here


class Importer:
    """Stores documents under one project. stored: told after each commit; trouble: told of each refusal as it is met."""

    def __init__(
        self, store: Store, project: Project, limit: int, stored: Callable[[Batch], None], trouble: Callable[[Trouble], None],
        wait: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self.counts = Counts()
        self._store, self._project, self._limit = store, project, limit
        self._stored, self._trouble, self._wait = stored, trouble, wait
        self._items: list[Item] = []
        self._bytes = self._first = self._last = 0

    def file(self, name: str, source: io.BufferedReader, after: int = 0) -> None:
        """All documents of a file that begin after a line. Raises Problem where the store refuses; what was told as stored is stored."""
        self._first = self._last = 0
        try:
            for one in documents(expanded(source), self._limit):
                if one.line > after:
                    self._one(name, one)
        except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
            why = f"The file cannot be unpacked beyond the lines before: {error}. It was damaged or cut off; give it again whole."
            self._refuse(name, self._last + 1, Problem("compression_broken", why))
        finally:
            source.close()
        self._flush(name)

    def _one(self, name: str, one: Document) -> None:
        self.counts.documents += 1
        self.counts.bytes += len(one.body)
        try:
            if one.problem is not None:
                raise one.problem
            found = read(one.body)
        except Exception as error:  # noqa: BLE001, as in receive: what nobody foresaw in one document must not end the import of the others
            self._refuse(name, one.line, as_problem(error))
            return
        for part in found:
            self._note(name, one.line, part)
            self._items.extend(part.items)
        self._first = self._first or one.line
        self._last = one.line
        self._bytes += len(one.body)
        if len(self._items) >= _BATCH_ITEMS or self._bytes >= _BATCH_BYTES:
            self._flush(name)

    def _note(self, name: str, line: int, part: Decoded) -> None:
        self.counts.quarantined += part.rejected
        self.counts.own += part.own
        if part.rejected:
            code = next((item.code for item in part.items if isinstance(item, Unreadable)), "item_undecodable")
            self._trouble(Trouble(name, line, code, outcome.rejection_text(part.rejected, part.message)))
        if part.own:
            self._trouble(Trouble(name, line, "own_telemetry", f"{part.own} {declared.OWN}."))

    def _refuse(self, name: str, line: int, problem: Problem) -> None:
        self.counts.refused += 1
        self._trouble(Trouble(name, line, problem.code, problem.message))

    def _flush(self, name: str) -> None:
        """Stores what was gathered, and says so only after the commit."""
        if self._items:
            written = self._write()
            self.counts.items += written.acknowledged
            self.counts.stored += written.stored
            self.counts.duplicates += written.duplicates
            self._stored(Batch(name, self._first, self._last, outcome.receipt(written), self.counts))
        self._items = []
        self._bytes = self._first = 0

    def _write(self) -> Written:
        """Received now, because it is now that we got it. Tried again while the store is away; what commits twice is stored once."""
        for seconds in (*_AGAIN, None):
            try:
                now = datetime.now(UTC)
                return self._store.write(self._project, self._items, key_id=None, protocol=OTLP_FILE, received_at=now)
            except Problem as problem:
                if seconds is None or problem.code not in ("store_unavailable", "overloaded"):
                    raise
                self._wait(seconds)
        raise AssertionError
