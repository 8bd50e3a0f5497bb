"""Owns the way back: from a skeleton, its values and content to the item as it was sent (pack.py says how they are made).

A field whose values were erased or are withheld gives WITHHELD values; everything else of the item stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.msgpack import Ext

from auditlog import item as items
from auditlog.item import (
    ARRAY,
    BOOL,
    BYTES,
    DOUBLE,
    EMPTY,
    INT,
    KVLIST,
    STRING,
    WITHHELD,
    Context,
    Item,
    Link,
    Log,
    Rest,
    Span,
    SpanEvent,
    Unreadable,
)
from auditlog.proof import canonical
from auditlog.store import cut, fields
from auditlog.store.pack import CUT_ARRAY, FORMAT, JSON_WHOLE, NODE

_IN_PLACE: Final = (STRING, INT, BOOL, DOUBLE)
_decode = msgspec.msgpack.Decoder().decode
_raws = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


class FormatError(Exception):
    """What is stored is not in a form that this version reads: newer, or changed by somebody."""


class Parsed(NamedTuple):
    event_id: bytes
    structure: list[Any]  # [item, head, names, extra]
    commitments: dict[int, bytes]
    prefix: bytes
    seed: bytes | dict[int, bytes]  # of all salts; where a field was erased, the others' salts
    values: dict[int, list[Any]]  # entries by field; a field that was erased is missing
    vals: bytes  # as stored

    @property
    def gone(self) -> tuple[int, ...]:
        """Fields that were committed to and have no values."""
        if self.commitments.keys() <= self.values.keys():  # of nearly every event
            return ()
        return tuple(sorted(self.commitments.keys() - self.values.keys()))

    @property
    def entries(self) -> dict[int, bytes]:
        """The canonical MessagePack of `values`: what was committed to."""
        raws = _raws(self.vals)
        return {_decode(name): bytes(raw) for name, raw in zip(raws[3::2], raws[4::2], strict=True)}

    @property
    def salts(self) -> dict[int, bytes]:
        if isinstance(self.seed, dict):
            return self.seed
        every = canonical.salts(self.seed)
        return {field: canonical.salt_of(every, field) for field in self.values}


def parse(skeleton: bytes, vals: bytes) -> Parsed:
    """Takes both halves apart. Raises FormatError."""
    try:
        form, version, event_id, structure, listing = _decode(skeleton)
        vals_form, prefix, seed, *told = _decode(vals)
        commitments = dict(zip(listing[::2], listing[1::2], strict=True))
        values = dict(zip(told[::2], told[1::2], strict=True))
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError) as error:
        raise FormatError(f"skeleton or values are in no form that is known ({type(error).__name__})") from error
    known = type(structure) is list and structure and type(prefix) is bytes and all(type(entries) is list for entries in values.values())
    # What is quoted are numbers: anything else may be what somebody said.
    if not known or any(type(number) is not int for number in (form, vals_form, version)):
        raise FormatError("skeleton or values are in no form that is known")
    if form != FORMAT or vals_form != FORMAT:
        raise FormatError(f"format {form}/{vals_form} is not {FORMAT}: written by another version")
    if version != fields.VERSION:
        raise FormatError(f"the table of fields is version {version}, this program knows {fields.VERSION}")
    return Parsed(event_id, structure, commitments, prefix, seed, values, vals)


def check(parsed: Parsed) -> dict[int, str]:
    """For every committed field: "intact", "withheld" (its values are gone), or "changed" (they are not what was committed)."""
    verdicts, salts, told = {}, parsed.salts, parsed.entries
    for field, committed in parsed.commitments.items():
        entries = told.get(field)
        if entries is None:
            verdicts[field] = "withheld"
        else:
            verdicts[field] = "intact" if canonical.commitment(salts[field], entries) == committed else "changed"
    return verdicts | dict.fromkeys(told.keys() - parsed.commitments.keys(), "changed")


def references(entries: Any) -> list[tuple[bytes, bool]]:
    """(SHA-256, whether it is a node) of all content that a field's decoded entries refer to."""
    found = []
    for entry in entries:
        kind = type(entry)
        if kind is Ext:
            found.append((bytes(entry.data), entry.code == NODE))
        elif kind is list:
            found += references(entry)
    return found


def erase(vals: bytes, field: int) -> bytes:
    """The values without one field: its entries destroyed, the other salts written down, the seed destroyed.

    What remains verifies as before; what is gone cannot be guessed, because its salt is gone with it.
    """
    raws = _raws(vals)
    seed = _decode(raws[2])
    kept: dict[int, bytes] = {}
    out: list[Any] = [raws[0], raws[1], kept]
    for name, entries in zip(raws[3::2], raws[4::2], strict=True):
        number = _decode(name)
        if number != field:
            kept[number] = canonical.salt_of(canonical.salts(seed), number) if isinstance(seed, bytes) else seed[number]
            out += (number, entries)
    return msgspec.msgpack.encode(out)


def blank(vals: bytes) -> bytes:
    """The values without any field."""
    raws = _raws(vals)
    return msgspec.msgpack.encode([raws[0], raws[1], {}])


class _Gone(Exception):
    """Content that a value refers to is not there: erased, or withheld from an export."""


class _Builder:
    """Hands out the entries of each field in order, as values; of attributes only those whose key is wanted."""

    def __init__(self, parsed: Parsed, content: Mapping[bytes, bytes], wanted: Callable[[str], bool] | None) -> None:
        self._content = content
        self._entries: dict[int, Iterator[Any]] = {field: iter(entries) for field, entries in parsed.values.items()}
        self._gone = frozenset(parsed.gone)
        self._wanted = wanted

    def attributes(self, names: list[Any], field: int = 0) -> list[items.Attribute]:
        made: list[items.Attribute] = []
        wanted, gone = self._wanted, self._gone
        for name, code in zip(names[::2], names[1::2], strict=True):
            key, own = fields.placed(name)
            where = field or own
            if wanted is not None and not wanted(key):
                if not (isinstance(code, int) and code <= EMPTY):
                    self.take(where)
            elif code in _IN_PLACE and where not in gone:  # nearly all: without two calls each
                entry = next(self._entries[where])
                made.append((key, code, entry) if type(entry) is not Ext else (key, *self._resolve(code, entry)))
            else:
                made.append((key, *self.value(where, code)))
        return made

    def take(self, field: int, default: Any = None) -> Any:
        return default if field in self._gone else next(self._entries[field])

    def value(self, field: int, code: Any) -> items.Value:
        """(type, value) of the next entry of a field; (WITHHELD, None) where it is gone."""
        if isinstance(code, int) and code <= EMPTY:
            return code, None
        if field in self._gone:
            return WITHHELD, None
        entry = next(self._entries[field])
        return (code, entry) if code in _IN_PLACE and type(entry) is not Ext else self._resolve(code, entry)

    def _resolve(self, code: Any, entry: Any) -> items.Value:
        try:
            return self._referred(code, entry)
        except _Gone:
            return WITHHELD, None

    def _referred(self, code: Any, entry: Any) -> items.Value:
        if code == STRING:
            return STRING, self._bytes(entry).decode()
        if code == BYTES:
            return BYTES, self._bytes(entry)
        if code in (ARRAY, KVLIST):
            return thaw(code, _decode(self._bytes(entry)))
        if code == CUT_ARRAY:
            return ARRAY, [thaw(*_decode(piece)) for piece in self._pieces(entry)]
        return STRING, self.text(code, entry).decode()

    def text(self, code: Any, entry: Any) -> bytes:
        """The bytes of a value that was cut, or of a REST member. Raises _Gone."""
        if code == JSON_WHOLE:
            return self._bytes(entry)
        opening, separator, closing = (b"[", cut.SEPARATORS[code], b"]") if isinstance(code, int) else code[1:]
        return b"".join((opening, separator.join(self._pieces(entry)), closing))

    def _bytes(self, entry: Any) -> bytes:
        if type(entry) is not Ext:
            return bytes(entry)
        try:
            return self._content[bytes(entry.data)]
        except KeyError:
            raise _Gone from None

    def _pieces(self, entries: list[Any]) -> list[bytes]:
        runs = [entries]
        while (run := runs[-1]) and type(run[0]) is Ext and run[0].code == NODE:  # how a conversation goes on: its earlier part
            runs[-1] = run[1:]
            runs.append(_decode(self._bytes(run[0])))
        return [self._bytes(entry) for run in reversed(runs) for entry in run]


def thaw(kind: int, value: Any) -> items.Value:
    """MessagePack knows lists only; item.py's values are tuples inside lists."""
    if kind == ARRAY:
        return kind, [thaw(*element) for element in value]
    if kind == KVLIST:
        return kind, thaw_attributes(value)
    return kind, value


def thaw_attributes(attributes: list[Any]) -> list[items.Attribute]:
    return [(key, *thaw(kind, value)) for key, kind, value in attributes]


def build(
    parsed: Parsed,
    content: Mapping[bytes, bytes],
    contexts: dict[bytes, Context] | None = None,
    wanted: Callable[[str], bool] | None = None,
) -> Item:
    """The item as it was sent. content: SHA-256 to bytes; what is missing there comes back WITHHELD.

    contexts: a cache, so that events of one scope share one Context as they did when they arrived.
    wanted: of an attribute's key whether it is; others are left out.
    Raises FormatError where there are fewer values than the skeleton says, or such that no item can be made of them.
    """
    try:
        builder = _Builder(parsed, content, wanted)
        make: Callable[..., Item] = _MAKERS[parsed.structure[0]]
        if parsed.structure[0] in (items.REST, items.GOVERNANCE):
            return make(builder, parsed)
        return make(builder, parsed, _context(builder, parsed, {} if contexts is None else contexts))
    except StopIteration:  # let through, it would end whoever goes through events as if this one were the last
        raise FormatError("a field has fewer values than the skeleton names") from None
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise FormatError(f"no item can be made of its values ({type(error).__name__})") from error


_UNKNOWN = Context()


def _context(builder: _Builder, parsed: Parsed, known: dict[bytes, Context]) -> Context | None:
    if fields.RESOURCE not in parsed.commitments:
        return None
    (entry,) = parsed.values.get(fields.RESOURCE, (None,))
    encoded = bytes(entry.data) if isinstance(entry, Ext) else entry
    if encoded is not None and encoded in known:
        return known[encoded]
    kind, data = builder.value(fields.RESOURCE, BYTES)
    if kind == WITHHELD:
        return _UNKNOWN
    resource, dropped, url, refs, scope, scope_attributes, scope_dropped, schema_url = _decode(data)
    context = Context(
        None if resource is None else thaw_attributes(resource), dropped, url, [tuple(ref) for ref in refs],
        None if scope is None else tuple(scope), thaw_attributes(scope_attributes), scope_dropped, schema_url,
    )  # fmt: skip
    if encoded is not None:
        known[encoded] = context
    return context


def _span(builder: _Builder, parsed: Parsed, context: Context | None) -> Span:
    _, head, names, (events, links) = parsed.structure
    trace_id, span_id, parent, flags, kind, start, end, dropped, dropped_events, dropped_links, status_code = head
    name, trace_state = builder.take(fields.OTHER, ""), builder.take(fields.OTHER, "")
    status = None if status_code is None else (status_code, builder.take(fields.OTHER, ""))
    attributes = builder.attributes(names)
    made_events = []
    for time, event_dropped, event_names in events:
        event_name = builder.take(fields.EVENTS, "")
        made_events.append(SpanEvent(time, event_name, builder.attributes(event_names, fields.EVENTS), event_dropped))
    made_links = []
    for link_trace, link_span, link_flags, link_dropped, link_names in links:
        state = builder.take(fields.EVENTS, "")
        made_links.append(Link(link_trace, link_span, state, builder.attributes(link_names, fields.EVENTS), link_dropped, link_flags))
    return Span(
        context or _UNKNOWN, trace_id, span_id, name, start, end, attributes, parent, trace_state, flags, kind, dropped,
        made_events, dropped_events, made_links, dropped_links, status,
    )  # fmt: skip


def _log(builder: _Builder, parsed: Parsed, context: Context | None) -> Log:
    _, head, names, code = parsed.structure
    trace_id, span_id, flags, time, observed, severity, dropped = head
    severity_text, event_name = builder.take(fields.OTHER, ""), builder.take(fields.OTHER, "")
    attributes = builder.attributes(names)
    body = None if code is None else builder.value(fields.BODY, code)
    return Log(
        context or _UNKNOWN, time, observed, body, attributes, trace_id, span_id, severity, severity_text, event_name, dropped, flags
    )


def _rest(builder: _Builder, parsed: Parsed) -> Rest:
    kind, (trace_id, time, has_session), names, gaps = parsed.structure
    members = []
    for path, code in zip(names[::2], names[1::2], strict=True):
        field = fields.field_of(path)[0]
        entry = builder.take(field)
        try:
            members.append((path, items.GONE if entry is None else builder.text(code, entry)))
        except _Gone:
            members.append((path, items.GONE))
    session = next((msgspec.json.decode(raw) for path, raw in members if path == "session_id"), "") if has_session else ""
    return Rest(gaps, members, trace_id, str(session), time, kind == items.GOVERNANCE)


def _unreadable(builder: _Builder, parsed: Parsed, context: Context | None) -> Unreadable:
    _, (signal, encoding, code), _, body = parsed.structure
    message = builder.take(fields.OTHER, "")
    kind, raw = builder.value(fields.BODY, body)
    return Unreadable(signal, encoding, b"" if kind == WITHHELD else raw, code, message, context=context)


_MAKERS: dict[int, Callable[..., Item]] = {
    items.SPAN: _span, items.LOG: _log, items.REST: _rest, items.GOVERNANCE: _rest, items.UNREADABLE: _unreadable,
}  # fmt: skip
