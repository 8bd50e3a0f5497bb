"""Owns the shapes of answers as JSON schemas, for the reference. Tests hold real answers against them."""

from __future__ import annotations

from typing import Any, Final

Shape = dict[str, Any]

ANYTHING: Final[Shape] = {"description": "As it was sent."}
TEXT: Final[Shape] = {"type": "string"}
TEXT_OR_NONE: Final[Shape] = {"type": ["string", "null"]}
MOMENT: Final[Shape] = {"type": "string", "format": "date-time"}
MOMENT_OR_NONE: Final[Shape] = {"type": ["string", "null"], "format": "date-time"}
COUNT: Final[Shape] = {"type": "integer", "minimum": 0}
COUNT_OR_NONE: Final[Shape] = {"type": ["integer", "null"], "minimum": 0}
FLAG: Final[Shape] = {"type": "boolean"}


def of(**members: Shape) -> Shape:
    """An object that has all of these members."""
    return {"type": "object", "required": list(members), "properties": members}


def some(shape: Shape) -> Shape:
    return {"type": "array", "items": shape}


def or_none(shape: Shape) -> Shape:
    return {"oneOf": [shape, {"type": "null"}]}


def listed(shape: Shape) -> Shape:
    """One page of a list."""
    return of(results=some(shape), next=TEXT_OR_NONE)


AGENT: Final = of(name=TEXT_OR_NONE, version=TEXT_OR_NONE)
TOTALS: Final = of(
    model_calls=COUNT,
    tool_calls=COUNT,
    input_tokens=COUNT_OR_NONE,
    output_tokens=COUNT_OR_NONE,
    reasoning_tokens=COUNT_OR_NONE,
    cost_usd={"type": ["number", "null"]},
    seconds={"type": ["number", "null"]},
)
SESSION: Final = of(
    key=TEXT,
    session_id=TEXT,
    trace_ids=some(TEXT),
    agent=AGENT,
    user_ids=some(TEXT),
    customer_ids=some(TEXT),
    started_at=MOMENT_OR_NONE,
    ended_at=MOMENT_OR_NONE,
    totals=or_none(TOTALS),
    verdict=TEXT_OR_NONE,
    findings=some({"type": "object"}),
    summary_current=FLAG,
)
EXCERPT: Final = of(step=COUNT, kind=TEXT, parts=some(of(text=TEXT, hit=FLAG)), more_before=FLAG, more_after=FLAG)
SESSION_FOUND: Final[Shape] = {**SESSION, "properties": {**SESSION["properties"], "excerpts": some(EXCERPT)}}  # with q alone
FACET: Final = of(values=some(of(value=TEXT, sessions=COUNT)), more_values=COUNT)
FACETS: Final = of(
    sessions=COUNT,
    more_sessions=FLAG,
    counts=of(agent=FACET, customer_id=FACET, tool=FACET, outcome=FACET, verdict=FACET, finding=FACET),
)
_SESSIONS: Final = listed(SESSION_FOUND)
SESSIONS: Final[Shape] = {**_SESSIONS, "properties": {**_SESSIONS["properties"], "facets": FACETS}}  # with facets=1 alone
SCALAR: Final = of(pointer=TEXT, value={"type": ["string", "number", "boolean"]})
ACTION: Final = of(
    session=TEXT,
    session_id=TEXT_OR_NONE,
    step=COUNT,
    tool=TEXT,
    call_id=TEXT_OR_NONE,
    outcome={"type": "string", "enum": ["returned", "failed", "refused", "unknown"]},
    offered={"type": ["boolean", "null"]},
    arguments_valid={"type": ["boolean", "null"]},
    occurred_at=MOMENT_OR_NONE,
    ended_at=MOMENT_OR_NONE,
    arguments=some(SCALAR),
    result=some(SCALAR),
    error=TEXT_OR_NONE,
    cut=FLAG,
    amounts=some(of(amount=TEXT, currency=TEXT_OR_NONE, side=TEXT, pointer=TEXT)),
    subjects=some(of(kind=TEXT, value=TEXT)),
    agent=AGENT,
    event_ids=some(TEXT),
    page={"type": "string", "format": "uri"},
)
STEP: Final = {
    "type": "object",
    "required": ["n", "kind", "event_ids"],
    "properties": {
        "n": COUNT,
        "kind": TEXT,
        "at": MOMENT_OR_NONE,
        "text": TEXT_OR_NONE,
        "form": TEXT_OR_NONE,
        "model_call": COUNT_OR_NONE,
        "event_ids": some(TEXT),
        "tool": {
            "type": ["object", "null"],
            "required": ["call_id", "name", "arguments", "result", "error", "offered", "arguments_valid", "outcome", "origins"],
        },
    },
}
TIMELINE: Final = of(
    key=TEXT,
    session_id=TEXT_OR_NONE,
    trace_ids=some(TEXT),
    agent=AGENT,
    agents=some(AGENT),
    user_ids=some(TEXT),
    customer_ids=some(TEXT),
    started_at=MOMENT_OR_NONE,
    ended_at=MOMENT_OR_NONE,
    totals=TOTALS,
    system_prompts=some(of(text=TEXT, first_step=COUNT_OR_NONE)),
    tools_offered=some({"type": "object", "required": ["name", "description", "parameters", "first_step"]}),
    steps=some(STEP),
    model_calls=some({"type": "object", "required": ["n", "requested_model", "response_model", "response_id", "usage", "event_ids"]}),
    completeness=of(verdict=TEXT, basis=TEXT_OR_NONE, gaps=some({"type": "object", "required": ["code", "message"]})),
    findings=some({"type": "object"}),
)
EVENT: Final = of(
    id=TEXT,
    item={"type": "string", "enum": ["log", "rest", "span", "unreadable"]},
    kind=TEXT,
    name=TEXT,
    trace_id=TEXT_OR_NONE,
    span_id=TEXT_OR_NONE,
    occurred_at=MOMENT_OR_NONE,
    received_at=MOMENT,
    batch=TEXT,
    digest=TEXT,
)
EVENT_DETAIL: Final = of(
    **EVENT["properties"],
    vocabularies=some(TEXT),
    facts=some(of(kind=TEXT)),
    withheld=of(
        fields=some(TEXT),
        requests=some(of(request=TEXT, outcome=TEXT, decided_at=MOMENT, until=MOMENT_OR_NONE, fields=some(TEXT))),
        unaccounted=COUNT,
    ),
)
AGENTS: Final = of(
    results=some(
        of(
            name=TEXT_OR_NONE,
            sessions=COUNT,
            model_calls=COUNT,
            tool_calls=COUNT,
            verdicts=of(complete=COUNT, gaps=COUNT, unevaluable=COUNT),
            gaps=some(of(code=TEXT, sessions=COUNT)),
            first_session_at=MOMENT,
            last_session_at=MOMENT,
        )
    ),
    next={"type": "null"},
    sessions=COUNT,
    cut=FLAG,
)
HASHES: Final = some(TEXT)
SIGNED: Final = of(size=COUNT, root=TEXT, note=TEXT, signed_at=MOMENT)
CHECKPOINT: Final = of(**SIGNED["properties"], anchors=some(of(kind=TEXT, name=TEXT, anchored_at=MOMENT)))
PROOF: Final = of(
    id=TEXT,
    digest=TEXT,
    part=of(batch=TEXT, bucket=COUNT, count=COUNT, index=COUNT, path=HASHES),
    leaf=of(index=COUNT, entry=TEXT, hash=TEXT, path=HASHES),
    checkpoint=SIGNED,
    keys=some(of(name=TEXT, public_key=TEXT, created_at=MOMENT, from_size=COUNT)),
)
STATUS: Final = of(
    pending_batches=COUNT,
    derive_lag_seconds={"type": "number", "minimum": 0},
    unsealed_batches=COUNT,
    seal_lag_seconds={"type": "number", "minimum": 0},
    sealer={"type": "string", "enum": ["sealing", "refusing", "away"]},
    sealer_refuses=TEXT_OR_NONE,
    quarantined=COUNT,
    events=COUNT,
    failed_batches=COUNT,
    stale_summaries=COUNT,
    text_lag_seconds={"type": "number", "minimum": 0},
    unsafe_settings={"type": "array", "items": {"type": "string"}, "description": "numbers of docs/operate/postgresql.md; empty: none"},
)

FILTERS: Final[Shape] = {"type": "object", "additionalProperties": TEXT}  # of `GET /api/v1/sessions`
_HOLD: Final = {
    "id": TEXT, "name": TEXT, "reason": TEXT, "scope": FILTERS, "placed_at": MOMENT,
    "placed_by": TEXT, "released_at": MOMENT_OR_NONE, "released_by": TEXT_OR_NONE, "release_reason": TEXT_OR_NONE,
}  # fmt: skip
HOLD: Final = of(**_HOLD)
HOLD_COUNTED: Final = of(**_HOLD, sessions=COUNT, more_sessions=FLAG)
_CONCERNS: Final[Shape] = {"type": "object", "additionalProperties": {"type": ["string", "array", "null"], "items": TEXT}}
ERASURE_WANTED: Final[Shape] = {
    "type": "object",
    "required": ["scope", "reason", "basis", "asked_by"],
    "properties": {
        "scope": _CONCERNS, "reason": TEXT, "basis": TEXT, "asked_by": TEXT, "received_at": MOMENT_OR_NONE, "due_at": MOMENT_OR_NONE,
    },
}  # fmt: skip
ERASURE: Final = of(
    id=TEXT, state={"type": "string", "enum": ["open", "decided", "ended"]}, scope=_CONCERNS, reason=TEXT, basis=TEXT, asked_by=TEXT,
    received_at=MOMENT, due_at=MOMENT, entered_at=MOMENT, entered_by=TEXT,
    outcome={"type": ["string", "null"], "enum": ["erase", "redact", "restrict", "refuse", None]}, fields=or_none(some(TEXT)),
    until=MOMENT_OR_NONE, outcome_reason=TEXT_OR_NONE, decided_at=MOMENT_OR_NONE, decided_by=TEXT_OR_NONE,
    certificate={"type": ["object", "null"]}, lifted_at=MOMENT_OR_NONE, lifted_by=TEXT_OR_NONE, lift_reason=TEXT_OR_NONE,
)  # fmt: skip
ERASURE_PREVIEW: Final = of(
    erasure=TEXT, events=COUNT, traces=COUNT, fields={"type": "object", "additionalProperties": COUNT},
    holds=some(of(hold=TEXT, name=TEXT, traces=COUNT)), unreadable=COUNT,
)  # fmt: skip
_NUMBER_OR_NONE: Final[Shape] = {"type": ["number", "null"], "minimum": 0}
_SCOPE: Final[Shape] = {
    "type": "object",
    "properties": {
        "everything": FLAG, "sessions": some(TEXT), "search": FILTERS, "hold": TEXT,
        "class": COUNT, "from": TEXT, "to": TEXT,
    },
    "additionalProperties": False,
}  # fmt: skip
_WITHHELD: Final = of(id=TEXT, field=COUNT_OR_NONE, reason=TEXT, basis=TEXT)
EXPORT_WANTED: Final[Shape] = {
    "type": "object",
    "required": ["scope", "recipient", "purpose"],
    "properties": {
        "scope": _SCOPE, "recipient": TEXT, "purpose": TEXT, "withheld": some(_WITHHELD), "formats": some(TEXT), "client_key": TEXT_OR_NONE,
    },
}  # fmt: skip
EXPORT: Final = of(
    id=TEXT, state={"type": "string", "enum": ["waiting", "running", "paused", "done", "failed", "cancelled", "expired"]}, scope=_SCOPE,
    recipient=TEXT, purpose=TEXT, formats=some(TEXT), withheld=COUNT, client_key=TEXT_OR_NONE, requested_at=MOMENT, requested_by=TEXT,
    progress=of(
        events=COUNT, events_expected=COUNT_OR_NONE, bytes=COUNT, bytes_per_second=_NUMBER_OR_NONE, seconds_left=_NUMBER_OR_NONE,
    ),
    started_at=MOMENT_OR_NONE, finished_at=MOMENT_OR_NONE, expires_at=MOMENT_OR_NONE, removed_at=MOMENT_OR_NONE,
    counts={"type": ["object", "null"], "additionalProperties": COUNT_OR_NONE}, manifest_sha256=TEXT_OR_NONE, error=TEXT_OR_NONE,
    copied_to=TEXT_OR_NONE, withdrawn_by=TEXT_OR_NONE,
)  # fmt: skip
RELEASE: Final = of(id=TEXT, recipient=TEXT, purpose=TEXT, description=TEXT, released_at=MOMENT, released_by=TEXT)
RETENTION_CLASS: Final = of(
    **{"class": COUNT}, version=COUNT, name=TEXT, days=COUNT, clock=TEXT, clock_of=TEXT_OR_NONE, floor_days=COUNT, basis=TEXT,
    second_person=FLAG, created_at=MOMENT, in_force=FLAG, in_force_at=MOMENT_OR_NONE,
)  # fmt: skip
RETENTION_RULE: Final = of(attribute=TEXT, value=TEXT, **{"class": COUNT})
RETENTION_RULES: Final = of(version=COUNT, rules=some(RETENTION_RULE), created_at=MOMENT_OR_NONE, created_by=TEXT_OR_NONE)
CLOCK_EVENT: Final = of(id=TEXT, kind=TEXT, value=TEXT, event=TEXT, at=MOMENT_OR_NONE, told_at=MOMENT, told_by=TEXT)
RECLASSIFICATION_WANTED: Final = of(**{"class": COUNT}, reason=TEXT, scope=FILTERS)
RECLASSIFICATION: Final = of(
    id=TEXT, **{"class": COUNT}, reason=TEXT, scope=FILTERS, made_at=MOMENT, made_by=TEXT, ended_at=MOMENT_OR_NONE, ended_by=TEXT_OR_NONE,
    end_reason=TEXT_OR_NONE,
)  # fmt: skip
_AMOUNT: Final = of(periods=COUNT, events=COUNT, sessions=COUNT)
RETENTION_PREVIEW: Final = of(
    **{"class": COUNT}, version=COUNT, days=COUNT, clock_of=TEXT_OR_NONE, new_days=COUNT, new_clock_of=TEXT_OR_NONE, second_person=FLAG,
    becomes_due=_AMOUNT, no_longer_due=_AMOUNT, reclassifications=COUNT,
    periods=some(of(
        bucket=COUNT, **{"from": MOMENT}, to=MOMENT, due_at=MOMENT, new_due_at=MOMENT, due=FLAG, new_due=FLAG, events=COUNT,
        sessions=COUNT, waiting_traces=COUNT_OR_NONE,
    )),
)  # fmt: skip
ACCESS: Final = of(
    id=TEXT, at=MOMENT, action=TEXT, actor=of(kind=TEXT, id=TEXT, name=TEXT), objects=some(TEXT), purpose=TEXT, recorded={"type": "object"}
)
