"""Owns how an item becomes what is stored: a skeleton, its values, and long content (unpack.py is the way back).

Everything is canonical MessagePack, so that a digest can be recomputed by any implementation:

    skeleton  [FORMAT, fields.VERSION, event ID, structure, [field, commitment, ...]]
    structure [item, head, names, extra]     names: [key, code, key, code, ...], one pair per attribute, as sent
                                             (a key of fields.INTERNED as its place there)
    vals      [FORMAT, prefix, seed, field, entries, field, entries, ...]

An attribute takes the next entry of its field. An entry is a value in place, or Ext(1, SHA-256) of a long one, or, for a
value cut at its elements (docs/adr/002), the array of its elements, which starts with Ext(2, SHA-256 of a node) where
more than CHUNK elements precede: a node holds CHUNK entries and the node before it. A conversation of n messages repeated in
every prompt so costs each event at most CHUNK entries and each node once: linear, without looking anything up.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from msgspec.msgpack import Ext

from auditlog import item as items
from auditlog.item import ARRAY, BOOL, BYTES, DOUBLE, EMPTY, INT, KVLIST, STRING, Attribute, Context, Item, Log, Rest, Span, Unreadable
from auditlog.proof import canonical
from auditlog.store import cut, fields

FORMAT: Final = 1
LONG: Final = 256  # characters or bytes from which a value becomes content of its own
CHUNK: Final = 16  # elements per node of a chain
CONTENT, NODE = 1, 2  # codes of MessagePack extensions

# Codes of `names` beyond the types of item.py and those of cut.py.
CUT_ARRAY: Final = 19  # an ARRAY value, each entry the encoding of one element
JSON_WHOLE: Final = 24  # a REST member kept as one piece of JSON text

SHARED_PREFIX: Final = b"\xff\xff\xff\xff"
_SHARED = fields.SHARED
_IN_PLACE: Final = frozenset({BOOL, INT, DOUBLE})
_CACHE_BYTES: Final = 48 * 1024 * 1024
_PROMPT_BYTES: Final = 4 * 1024 * 1024  # a prompt that takes more is not remembered
_ELEMENT_BYTES: Final = 200  # what an element takes beside its text: a prompt of numbers takes many times its own size

_encode = msgspec.msgpack.Encoder().encode
_field_of = fields.field_of


Longs: TypeAlias = list[tuple[bytes, bytes]]
"""Content that an event refers to: (SHA-256, bytes)."""


class Packed(NamedTuple):
    """One event, ready to be written. Keys and digests are raw bytes; occurred_ns is None for an undated item."""

    trace_key: bytes
    event_id: bytes
    item: int
    occurred_ns: int | None
    trace_id: bytes
    span_id: bytes
    skeleton: bytes
    vals: bytes
    digest: bytes
    prefix: bytes
    longs: Longs  # content under the event's own prefix
    shared: Longs  # content under SHARED_PREFIX


def keyed(secret: bytes, data: bytes, size: int = 16) -> bytes:
    """BLAKE2b under the project's secret: IDs that nobody can guess from a dump (docs/adr/002)."""
    return hashlib.blake2b(data, key=secret, digest_size=size).digest()


def content_key(secret: bytes, prefix: bytes, sha: bytes) -> bytes:
    """20 bytes: locality prefix, then 128 bits keyed over the SHA-256 of the bytes."""
    return prefix + keyed(secret, sha)


class _Sheet:
    """The entries of one event while it is being packed, by field, and the long values that they refer to."""

    __slots__ = ("entries", "longs", "rank", "session", "shared", "trace_id")

    def __init__(self) -> None:
        self.entries: list[list[Any] | None] = [None] * (canonical.FIELD_COUNT + 1)
        self.longs: Longs = []
        self.shared: Longs = []
        self.session = ""
        self.trace_id = b""
        self.rank = fields.NO_RANK

    def add(self, field: int, entry: Any) -> None:
        entries = self.entries[field]
        if entries is None:
            self.entries[field] = [entry]
        else:
            entries.append(entry)

    def of(self, field: int) -> Longs:
        """Where the long values of a field go."""
        return self.shared if field in _SHARED else self.longs


class _Prompt(NamedTuple):
    """A prompt that was cut: the next one of its trace mostly repeats it and says more."""

    begins: bytes  # how that prompt begins (cut.beginning)
    code: int
    entries: list[Any]
    longs: Longs
    size: int  # bytes held


class Packer:
    """Packs items; holds caches of hashes of bytes seen lately, so one per thread. Not bound to a project."""

    def __init__(self) -> None:
        self._shas: dict[bytes, bytes] = {}
        self._texts: dict[str, tuple[Any, Any, Longs]] = {}
        self._prompts: dict[bytes, _Prompt] = {}  # the last one of each trace
        self._held = 0

    def pack(self, batch: Sequence[Item], secret: bytes) -> list[Packed]:
        """The events of one request, in its order. Identical items differ by their ordinal, so a resend gives the same IDs."""
        seeds = os.urandom(16 * len(batch))
        contexts: dict[int, tuple[Any, Longs]] = {}
        ordinals: dict[bytes, int] = {}
        packed = []
        for number, item in enumerate(batch):
            sheet = _Sheet()
            kind = type(item)
            if kind is Span:
                parts = self._span(item, sheet)  # type: ignore[arg-type]
            elif kind is Log:
                parts = self._log(item, sheet)  # type: ignore[arg-type]
            elif kind is Rest:
                parts = self._rest(item, sheet)  # type: ignore[arg-type]
            else:
                parts = self._unreadable(item, sheet)  # type: ignore[arg-type]
            context = getattr(item, "context", None)
            if context is not None:
                known = contexts.get(id(context))
                if known is None:
                    known = contexts[id(context)] = self._context(context)
                sheet.entries[fields.RESOURCE] = [known[0]]
                sheet.shared += known[1]
            packed.append(_seal(parts, sheet, secret, seeds[16 * number : 16 * number + 16], ordinals))
        return packed

    # --- the kinds of item; each returns (structure, occurred_ns, trace_id, span_id) ---

    def _span(self, span: Span, sheet: _Sheet) -> _Parts:
        sheet.trace_id = span.trace_id
        status = span.status
        sheet.entries[fields.OTHER] = [span.name, span.trace_state] if status is None else [span.name, span.trace_state, status[1]]
        names = self._attributes(span.attributes, sheet)
        extra: list[Any] = [[], []]
        for event in span.events:
            sheet.add(fields.EVENTS, event.name)
            extra[0].append([event.time, event.dropped_attributes, self._attributes(event.attributes, sheet, fields.EVENTS)])
        for link in span.links:
            sheet.add(fields.EVENTS, link.trace_state)
            extra[1].append(
                [link.trace_id, link.span_id, link.flags, link.dropped_attributes, self._attributes(link.attributes, sheet, fields.EVENTS)]
            )
        head = [
            span.trace_id, span.span_id, span.parent_span_id, span.flags, span.kind, span.start, span.end, span.dropped_attributes,
            span.dropped_events, span.dropped_links, None if status is None else status[0],
        ]  # fmt: skip
        structure = _encode([items.SPAN, head, names, extra])
        return _Parts(items.SPAN, structure, span.start or span.end or None, span.trace_id, span.span_id)

    def _log(self, log: Log, sheet: _Sheet) -> _Parts:
        sheet.trace_id = log.trace_id
        sheet.entries[fields.OTHER] = [log.severity_text, log.event_name]
        names = self._attributes(log.attributes, sheet)
        body = None if log.body is None else self._value(fields.BODY, log.body[0], log.body[1], sheet)
        head = [log.trace_id, log.span_id, log.flags, log.time, log.observed, log.severity, log.dropped_attributes]
        structure = _encode([items.LOG, head, names, body])
        return _Parts(items.LOG, structure, log.time or log.observed or None, log.trace_id, log.span_id)

    def _rest(self, event: Rest, sheet: _Sheet) -> _Parts:
        sheet.session = event.session_id
        names: list[Any] = []
        for path, raw in event.members:
            field = _field_of(path)[0]
            names += (path, self._json(field, raw, sheet))
        kind = items.GOVERNANCE if event.governance else items.REST
        structure = _encode([kind, [event.trace_id, event.time, event.session_id != ""], names, event.gaps])
        return _Parts(kind, structure, event.time or None, event.trace_id, b"")

    def _unreadable(self, item: Unreadable, sheet: _Sheet) -> _Parts:
        sheet.add(fields.OTHER, item.message)
        code = self._value(fields.BODY, BYTES, item.raw, sheet)
        structure = _encode([items.UNREADABLE, [item.signal, item.encoding, item.code], [], code])
        return _Parts(items.UNREADABLE, structure, None, b"", b"")

    # --- values ---

    def _attributes(self, attributes: list[Attribute], sheet: _Sheet, field: int = 0) -> list[Any]:
        """Adds the values to the sheet, to `field` or to the field of each key; returns `names`."""
        names: list[Any] = []
        entries = sheet.entries
        for key, kind, value in attributes:
            where, rank, name = _field_of(key)
            if field:
                where = field
            elif rank < sheet.rank and kind == STRING and value:
                sheet.session, sheet.rank = value, rank
            if (kind == STRING and len(value) < LONG) or kind in _IN_PLACE:
                names += (name, kind)
                known = entries[where]
                if known is None:
                    entries[where] = [value]
                else:
                    known.append(value)
            else:
                names += (name, self._value(where, kind, value, sheet))
        return names

    def _value(self, field: int, kind: int, value: Any, sheet: _Sheet) -> Any:
        """Adds one value to the sheet and returns its code. A value that is not there (ABSENT, EMPTY) has a code and no entry."""
        if kind <= EMPTY:
            return kind
        if kind == STRING:
            code, entry = self._text(field, value, sheet) if len(value) >= LONG else (STRING, value)
        elif kind == BYTES:
            code, entry = BYTES, self._long(value, sheet.of(field)) if len(value) >= LONG else value
        elif kind in (ARRAY, KVLIST):
            code, entry = self._nested(field, kind, value, sheet)
        else:
            code, entry = kind, value
        sheet.add(field, entry)
        return code

    def _text(self, field: int, value: str, sheet: _Sheet) -> tuple[Any, Any]:
        """A long string: cut at its elements where it is a JSON array, else content as a whole."""
        if field in _SHARED:
            known = self._texts.get(value)  # a system prompt or a list of tools comes again with every call
            if known is None:
                data = value.encode()
                longs: Longs = []
                code, entry = self._cut(data, longs) or (STRING, self._long(data, longs))
                self._hold(len(data))
                known = self._texts[value] = (code, entry, longs)
            sheet.shared += known[2]
            return known[0], known[1]
        data = value.encode()
        found = self._prompt(data, sheet) if field == fields.INPUT else self._cut(data, sheet.longs)
        return found or (STRING, self._long(data, sheet.longs))

    def _json(self, field: int, raw: bytes, sheet: _Sheet) -> Any:
        """One REST member: raw JSON text. Returns its code."""
        longs = sheet.of(field)
        code, entry = (self._cut(raw, longs) if len(raw) >= LONG else None) or (
            JSON_WHOLE,
            raw if len(raw) < LONG else self._long(raw, longs),
        )
        sheet.add(field, entry)
        return code

    def _cut(self, data: bytes, longs: Longs) -> tuple[Any, Any] | None:
        """(code, entry) of a JSON array cut at its top-level elements, or None where that would not be byte-exact."""
        found = cut.split(data)
        return found and (found[0], self._chain(self._entries(found[1], longs), longs))

    def _prompt(self, data: bytes, sheet: _Sheet) -> tuple[Any, Any] | None:
        """As _cut. Where the last prompt of the trace is the beginning of this one, only what was added is cut, hashed and looked up."""
        last = self._prompts.get(sheet.trace_id)
        if last and (pieces := cut.added(data, last.begins, last.code)):
            code, entries, longs = last.code, last.entries.copy(), last.longs.copy()
        elif found := cut.split(data):
            (code, pieces), entries, longs = found, [], []
        else:
            return None
        entries += self._entries(pieces, longs)
        size = len(data) + _ELEMENT_BYTES * len(entries)
        if isinstance(code, int) and size <= _PROMPT_BYTES:
            self._hold(size - last.size if last else size)
            self._prompts[sheet.trace_id] = _Prompt(cut.beginning(data, code), code, entries, longs, size)
        sheet.longs += longs
        return code, self._chain(entries, sheet.longs)

    def _entries(self, pieces: Sequence[bytes], longs: Longs) -> list[Any]:
        return [piece if len(piece) < LONG else self._long(piece, longs) for piece in pieces]

    def _chain(self, entries: list[Any], longs: Longs) -> list[Any]:
        """What an event holds of a value's elements: all of them, or the node of what precedes the last CHUNK."""
        if len(entries) <= CHUNK:
            return entries
        node: Ext | None = None
        start = 0
        while len(entries) - start > CHUNK:
            run = entries[start : start + CHUNK]
            data = _encode(run if node is None else [node, *run])
            node = Ext(NODE, self._long(data, longs).data)
            start += CHUNK
        return [node, *entries[start:]]

    def _nested(self, field: int, kind: int, value: list[Any], sheet: _Sheet) -> tuple[Any, Any]:
        data = _encode(value)
        if len(data) < LONG:
            return kind, data
        if kind == ARRAY:
            longs = sheet.of(field)
            return CUT_ARRAY, self._chain(self._entries([_encode(element) for element in value], longs), longs)
        return kind, self._long(data, sheet.of(field))

    def _long(self, data: bytes, longs: Longs) -> Ext:
        sha = self._shas.get(data)
        if sha is None:
            sha = hashlib.sha256(data).digest()
            self._hold(len(data))
            self._shas[data] = sha
        longs.append((sha, data))
        return Ext(CONTENT, sha)

    def _context(self, context: Context) -> tuple[Any, Longs]:
        data = _encode(context_parts(context))
        longs: Longs = []
        return (data if len(data) < LONG else self._long(data, longs)), longs

    def _hold(self, size: int) -> None:
        """Keeps the caches bounded: when they are full they start anew, which costs some hashing and nothing else."""
        self._held += size
        if self._held > _CACHE_BYTES:
            self._held = size
            self._shas.clear()
            self._texts.clear()
            self._prompts.clear()


class _Parts(NamedTuple):
    item: int
    structure: bytes
    occurred_ns: int | None
    trace_id: bytes
    span_id: bytes


def context_parts(context: Context) -> list[Any]:
    """Resource and scope as one value: they are the same for many events and are erased together."""
    return [
        context.resource, context.resource_dropped, context.resource_schema_url, context.entity_refs,
        context.scope, context.scope_attributes, context.scope_dropped, context.schema_url,
    ]  # fmt: skip


def _seal(parts: _Parts, sheet: _Sheet, secret: bytes, seed: bytes, ordinals: dict[bytes, int]) -> Packed:
    """Commits to the fields, names the event, and puts skeleton and values together."""
    identity = bytearray(parts.structure)
    listing: list[Any] = []
    for field, entries in enumerate(sheet.entries):
        if entries is not None:
            encoded = _encode(entries)
            listing.append((field, encoded))
            identity += bytes((field,)) + encoded
    plain = hashlib.blake2b(identity, key=secret, digest_size=16).digest()
    ordinal = ordinals.get(plain, 0)
    ordinals[plain] = ordinal + 1
    event_id = plain if not ordinal else keyed(secret, plain + ordinal.to_bytes(4))
    all_salts = canonical.salts(seed)
    commitments: list[Any] = []
    prefix = keyed(secret, b"prefix" + (sheet.session.encode() or parts.trace_id or event_id), 4)
    vals: list[Any] = [FORMAT, prefix, seed]
    for field, encoded in listing:
        commitments += (field, canonical.commitment(canonical.salt_of(all_salts, field), encoded))
        vals += (field, msgspec.Raw(encoded))
    skeleton = _encode([FORMAT, fields.VERSION, event_id, msgspec.Raw(parts.structure), commitments])
    trace_key = parts.trace_id or (keyed(secret, b"session" + sheet.session.encode()) if sheet.session else event_id)
    return Packed(
        trace_key, event_id, parts.item, parts.occurred_ns, parts.trace_id, parts.span_id, skeleton, _encode(vals),
        canonical.digest(skeleton), prefix, sheet.longs, sheet.shared,
    )  # fmt: skip
