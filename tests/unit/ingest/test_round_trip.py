"""Owns the proof that decoding loses nothing, from protobuf and from OTLP/JSON, whatever was sent."""

from itertools import zip_longest
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog import otlp_json
from auditlog.ingest.decode import decode, decode_request
from auditlog.item import LOG, SPAN, STRING, Attribute, Context, Log, Span, Unreadable
from tests.strategies import as_request, log_requests, singles, spans, trace_requests

MARK = "MARK"  # broken later, byte for byte


@settings(max_examples=150, deadline=None)
@given(trace_requests())
def test_every_span_is_decoded_to_what_was_sent(request: Any) -> None:
    items = decode(request.SerializeToString(), SPAN, "protobuf")
    assert [as_request(item) for item in items if isinstance(item, Span)] == singles(request, SPAN)


@settings(max_examples=150, deadline=None)
@given(log_requests())
def test_every_log_record_is_decoded_to_what_was_sent(request: Any) -> None:
    items = decode(request.SerializeToString(), LOG, "protobuf")
    assert [as_request(item) for item in items if isinstance(item, Log)] == singles(request, LOG)


@settings(max_examples=150, deadline=None)
@given(trace_requests())
def test_a_span_written_as_json_is_read_as_the_same_span(request: Any) -> None:
    for item in decode(request.SerializeToString(), SPAN, "protobuf"):
        document = otlp_json.document(item)
        assert document is not None
        assert repr(decode(document, SPAN, "json")) == repr([item])  # repr, because NaN is not equal to itself


@settings(max_examples=150, deadline=None)
@given(log_requests())
def test_a_log_record_written_as_json_is_read_as_the_same_log_record(request: Any) -> None:
    for item in decode(request.SerializeToString(), LOG, "protobuf"):
        document = otlp_json.document(item)
        assert document is not None
        assert repr(decode(document, LOG, "json")) == repr([item])


@settings(max_examples=100, deadline=None)
@given(st.lists(trace_requests() | log_requests(), min_size=2, max_size=4))
def test_documents_made_one_after_the_other_each_have_what_is_around_their_own_item(requests: list[Any]) -> None:
    each = [
        [one for one in decode(request.SerializeToString(), signal, "protobuf") if isinstance(one, Span | Log)]
        for request in requests
        for signal in [SPAN if "Trace" in type(request).__name__ else LOG]
    ]
    documents = otlp_json.Documents()
    for item in [one for several in zip_longest(*each) for one in several if one is not None]:  # in turn, so that it changes
        assert b"".join(documents.pieces(item)) == otlp_json.document(item)


def test_a_span_and_a_log_record_of_the_same_scope_each_have_their_own_kind_of_document() -> None:
    around, documents = Context([("service.name", STRING, "x")]), otlp_json.Documents()
    span, log = Span(around, b"t" * 16, b"s" * 8, "a", 1, 2, []), Log(around, 1, 2, None, [])
    for item in (span, log, span):
        assert b"".join(documents.pieces(item)) == otlp_json.document(item)


def test_what_is_around_a_span_is_cut_at_the_span_whatever_it_says() -> None:
    hostile = '\0\x01"\\u0000\u202e\x7f[]'
    said: list[Attribute] = [(hostile, STRING, hostile)]
    around = Context(said, scope=(hostile, hostile), scope_attributes=said, schema_url=hostile)
    span = Span(around, b"t" * 16, b"s" * 8, hostile, 1, 2, said)
    document = otlp_json.document(span)
    assert document is not None and repr(decode(document, SPAN, "json")) == repr([span])


def _broken(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    copy.attributes.add(key="broken").value.string_value = MARK
    return copy


broken_spans = spans | spans.map(_broken)


def _is_broken(message: Any) -> bool:
    return any(pair.value.string_value == MARK for pair in message.attributes)


@settings(max_examples=100, deadline=None)
@given(st.lists(broken_spans, min_size=1, max_size=5), trace_requests())
def test_a_span_with_invalid_utf8_is_kept_as_its_bytes_and_its_neighbours_are_decoded(members: list[Any], request: Any) -> None:
    part = request.resource_spans.add().scope_spans.add(spans=members)
    messages = [one for group in request.resource_spans for inner in group.scope_spans for one in inner.spans]
    body = request.SerializeToString().replace(MARK.encode(), b"\xff\xfe\xfd\xfc")
    found = decode_request(body, SPAN, "protobuf")
    assert len(part.spans) == len(members)
    assert len(found.items) == len(messages)
    assert found.rejected == sum(map(_is_broken, messages))
    expected = singles(request, SPAN)
    for index, (item, message) in enumerate(zip(found.items, messages, strict=True)):
        if isinstance(item, Unreadable):
            assert item.raw == message.SerializeToString().replace(MARK.encode(), b"\xff\xfe\xfd\xfc")
            assert (item.index, item.signal, item.encoding) == (index, SPAN, "protobuf")
        else:
            assert isinstance(item, Span)
            assert as_request(item) == expected[index]
            assert not _is_broken(message)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.booleans(), log_requests()), min_size=1, max_size=3))
def test_a_log_record_with_half_a_surrogate_pair_is_kept_as_its_bytes_and_its_neighbours_are_read(parts: list[tuple[bool, Any]]) -> None:
    """Each record with its own resource and scope, as `/raw` writes it; half of them are broken."""
    groups, expected = [], []
    for broken, request in parts:
        for item in decode(request.SerializeToString(), LOG, "protobuf"):
            assert isinstance(item, Log)
            item.severity_text = MARK if broken else item.severity_text
            document = otlp_json.document(item)
            assert document is not None
            groups.append(document.removeprefix(b'{"resourceLogs":[').removesuffix(b"]}").replace(MARK.encode(), b"\\ud800x\\udc00"))
            expected.append((broken, item))
    found = decode_request(b'{"resourceLogs":[' + b",".join(groups) + b"]}", LOG, "json")
    assert found.rejected == sum(broken for broken, _ in expected)
    for item, sent, (broken, original) in zip(found.items, groups, expected, strict=True):
        assert isinstance(item, Unreadable) == broken
        if isinstance(item, Unreadable):
            assert b'"logRecords":[' + item.raw + b"]" in sent
            assert repr(item.context) == repr(original.context)
        else:
            assert repr(item) == repr(original)
