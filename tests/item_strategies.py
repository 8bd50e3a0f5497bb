"""Owns random items for property-based tests: every type, nesting, repeated keys, NUL, conversations that grow."""

import json

from hypothesis import strategies as st

from auditlog import item as items
from auditlog.item import Context, Link, Log, Rest, Span, SpanEvent, Unreadable

u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
i64 = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["", "\0", "a\0b", "ä" * 300, "x" * 255, "x" * 256]
)
separators = st.sampled_from([(",", ":"), (", ", ": ")])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


@st.composite
def conversations(draw: st.DrawFn) -> str:
    """A JSON array of messages as senders write it: compact, with Python's separators, indented, broken, or with NaN in it."""
    messages = [{"role": "user", "content": draw(texts) + "m" * draw(st.integers(0, 600))} for _ in range(draw(st.integers(0, 40)))]
    text = json.dumps(
        messages, separators=draw(separators), indent=draw(st.sampled_from([None, None, 2])), ensure_ascii=draw(st.booleans())
    )
    return draw(
        st.sampled_from(
            [text, text, text, text[:-1], text + " ", text.replace("user", "\\ud800"), text.replace('"user"', "NaN"), " " + text]
        )
    )


keys = texts | st.sampled_from(
    ["gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.tool.definitions", "session.id", "user.id",
     "gen_ai.tool.call.arguments", "gen_ai.tool.call.result", "input.value", "llm.input_messages.0.message.content", "metadata"]
)  # fmt: skip
scalars = st.one_of(
    st.tuples(st.just(items.STRING), texts | conversations()),
    st.tuples(st.just(items.BOOL), st.booleans()),
    st.tuples(st.just(items.INT), i64),
    st.tuples(st.just(items.DOUBLE), st.floats(allow_nan=False)),
    st.tuples(st.just(items.BYTES), st.binary(max_size=400)),
    st.tuples(st.sampled_from([items.EMPTY]), st.none()),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.tuples(st.just(items.ARRAY), st.lists(inner, max_size=20))
        | st.tuples(st.just(items.KVLIST), st.lists(st.builds(lambda k, v: (k, *v), keys, inner), max_size=4))
    ),
    max_leaves=8,
)
attributes = st.lists(st.builds(lambda k, v: (k, *v), keys, values | st.just((items.ABSENT, None))), max_size=8)
trace_ids = st.binary(min_size=16, max_size=16)
span_ids = st.binary(min_size=8, max_size=8)
contexts = st.builds(
    Context, resource=st.none() | attributes, resource_dropped=u32, resource_schema_url=texts,
    entity_refs=st.lists(st.tuples(texts, texts, st.lists(texts, max_size=2), st.lists(texts, max_size=2)), max_size=2),
    scope=st.none() | st.tuples(texts, texts), scope_attributes=attributes, scope_dropped=u32, schema_url=texts,
)  # fmt: skip
span_events = st.builds(SpanEvent, time=u64, name=texts, attributes=attributes, dropped_attributes=u32)
links = st.builds(Link, trace_id=trace_ids, span_id=span_ids, trace_state=texts, attributes=attributes, dropped_attributes=u32, flags=u32)
spans = st.builds(
    Span, context=contexts, trace_id=trace_ids, span_id=span_ids, name=texts, start=u64, end=u64, attributes=attributes,
    parent_span_id=st.just(b"") | span_ids, trace_state=texts, flags=u32, kind=st.integers(-(2**31), 2**31 - 1), dropped_attributes=u32,
    events=st.lists(span_events, max_size=3), dropped_events=u32, links=st.lists(links, max_size=2), dropped_links=u32,
    status=st.none() | st.tuples(st.integers(0, 99), texts),
)  # fmt: skip
logs = st.builds(
    Log, context=contexts, time=u64, observed=u64, body=st.none() | values, attributes=attributes, trace_id=st.just(b"") | trace_ids,
    span_id=st.just(b"") | span_ids, severity=st.integers(0, 99), severity_text=texts, event_name=texts, dropped_attributes=u32, flags=u32,
)  # fmt: skip


@st.composite
def rest_events(draw: st.DrawFn) -> Rest:
    """A REST event cut as ingest cuts it; gaps carry the keys and whatever blanks the sender wrote."""
    names = draw(
        st.lists(
            st.sampled_from(["session_id", "input", "output", "tools", "tool.arguments", "tool.result", "attributes", "at"]),
            unique=True,
            max_size=6,
        )
    )
    session = draw(texts.filter(bool))
    members = [
        (name, json.dumps(session if name == "session_id" else draw(json_values), separators=draw(separators)).encode()) for name in names
    ]
    gaps = [b"{"] + [draw(st.sampled_from([b', "k": ', b","])) for _ in members]
    return Rest(gaps, members, draw(st.just(b"") | trace_ids), session if "session_id" in names else "", draw(u64))


unreadables = st.builds(
    Unreadable, signal=st.sampled_from([1, 2, 3]), encoding=st.sampled_from(["protobuf", "json"]), raw=st.binary(max_size=600),
    code=st.just("item_undecodable"), message=texts, context=st.none() | contexts,
)  # fmt: skip
any_item = spans | logs | rest_events() | unreadables
