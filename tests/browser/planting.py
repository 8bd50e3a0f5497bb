"""Owns where hostile texts are put: every place of a REST event, a span and a log record that a page can show."""

from __future__ import annotations

import hashlib
import json
import random
import string
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlencode

from tests.browser import hostile
from tests.service import Service

DAY = "2026-03-02"
NANOSECONDS = 1_772_445_600_000_000_000  # that day at 10:00


def twin(name: str) -> str:
    """A harmless text of the same lengths: a page that shows it has the very elements that the page of the hostile one may have."""
    if name == "json":
        return '{"f": "harmless letters of no meaning at all", "f": "\\u202e\\ud800", "\\u0000": "harmless letters"}'
    letters = random.Random(name)
    kept = dict.fromkeys(" \t\n\r") | dict.fromkeys(string.digits, "8")  # a number stays one: it is valid JSON
    return "".join((kept[c] or c) if c in kept else letters.choice(string.ascii_lowercase) for c in hostile.TEXTS[name])


def trace_of(text: str, sender: str) -> str:
    return hashlib.sha256(f"{sender}:{text}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def at(second: int) -> str:
    return f"{DAY}T10:{second // 60:02}:{second % 60:02}Z"


def rest(text: str) -> list[dict[str, Any]]:
    """A session of REST events with the text in every member that holds any."""
    common = {
        "session_id": text, "customer_id": text, "user_id": text, "agent": {"name": text, "version": text},
        "trace_id": trace_of(text, "rest"), "attributes": {text: text, "patient_id": text, "deep": {text: [text, {text: text}]}},
    }  # fmt: skip
    schema = {
        "type": "object",
        "title": text,
        "description": text,
        "properties": {text: {"type": "string", "enum": [text], "default": text}},
    }
    offered = [{"name": text, "description": text, "parameters": schema}]
    asked = [{"role": "user", "content": text}]
    bodies: list[dict[str, Any]] = [
        {"kind": "prompt", "system": text, "tools": offered, "input": asked},
        {"kind": "model_call", "id": text, "model": text, "response_model": f"{text} too", "response_id": text,
         "system": text, "tools": offered, "input": asked, "output": [{"role": "assistant", "content": text}], "reasoning": [text],
         "usage": {"input_tokens": 5, "output_tokens": 7}},
        {"kind": "tool_call", "tool": {"name": text, "call_id": text, "arguments": {text: text, "b": text}, "result": {text: text}}},
        {"kind": "tool_call", "tool": {"name": text, "call_id": f"{text}2", "arguments": text, "error": text}},
        {"kind": "tool_call", "tool": {"name": f"{text}3", "arguments": {"deep": {text: [text, {text: text}]}}, "result": [text, [text]]}},
        {"kind": "tool_call", "tool": {"name": f"{text}4", "arguments": {"x": text}}},
        {"kind": "reasoning", "reasoning": f"{text} thought"},
        {"kind": "message", "output": [{"role": "assistant", "content": [{"type": "text", "text": f"{text} said"}]}]},
        {"kind": "approval", "approval": {"decision": "approved", "by": text, "reason": text, text: text}},
        {"kind": "guardrail", "guardrail": {"name": text, "reason": text}},
        {"kind": "retrieval", "retrieval": {"source": text, "version": text, "query": text, "documents": [{text: text}, text]}},
        {"kind": "handoff", "handoff": {"from": text, "to": text, "reason": text}},
        {"kind": "feedback", "feedback": {text: text, "text": text}},
        {"kind": "outcome", "outcome": text},
        {"kind": "other", "text": text},
        {"kind": "model_call", "model": text, "input": [{"role": "user", "content": f"{text} again"}], "error": text},
    ]  # fmt: skip
    return [common | body | {"at": at(second)} for second, body in enumerate(bodies, 1)]


def unreadable(text: str) -> list[dict[str, Any]]:
    """Events that are quarantined, each for what the text makes of it."""
    return [
        {"kind": text, "at": at(0), "session_id": text},
        {"kind": "message", "at": text, "output": [{"role": text, "content": text}]},
        {"kind": "approval", "at": at(0), "approval": {"decision": text}, text: text},
        {"kind": "tool_call", "at": at(0), "tool": {"name": text, "arguments": {"a": hostile.LONE_SURROGATES}, "result": text}},
    ]


def _attributes(**given: Any) -> list[dict[str, Any]]:
    return [{"key": key, "value": value if isinstance(value, dict) else {"stringValue": value}} for key, value in given.items()]


def _context(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return (
        {"attributes": _attributes(**{"service.name": text, "service.version": text, f"resource.{text}": text})},
        {"name": text, "version": text, "attributes": _attributes(**{text: text})},
    )


def spans(text: str) -> dict[str, Any]:
    """A trace in OpenTelemetry's own vocabulary."""
    said = {"session.id": text, "customer.id": text, "user.id": text, "gen_ai.agent.name": text, "gen_ai.agent.version": text,
            text: text,
            "list": {"arrayValue": {"values": [{"stringValue": text},
                                               {"kvlistValue": {"values": _attributes(**{text: text})}}]}}}  # fmt: skip
    asked = json.dumps([{"role": "user", "parts": [{"type": "text", "content": f"{text} asked"}]}])
    told = json.dumps(
        [{"role": "assistant", "parts": [{"type": "reasoning", "content": f"{text} why"}, {"type": "text", "content": f"{text} so"}]}]
    )
    each: list[dict[str, Any]] = [
        {"gen_ai.operation.name": "invoke_agent", "gen_ai.system_instructions": text},
        {"gen_ai.operation.name": "chat", "gen_ai.request.model": text, "gen_ai.response.model": f"{text}r", "gen_ai.response.id": text,
         "gen_ai.input.messages": asked, "gen_ai.output.messages": told, "gen_ai.system_instructions": text},
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": text, "gen_ai.tool.call.id": f"{text}o",
         "gen_ai.tool.description": text, "gen_ai.tool.call.result": text,
         "gen_ai.tool.call.arguments": json.dumps({text: text, "o": text})},
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": text, "gen_ai.tool.call.arguments": text, "error.type": text},
    ]  # fmt: skip
    resource, scope = _context(text)
    made = [
        {
            "traceId": trace_of(text, "otlp"), "spanId": f"{number:016x}", "parentSpanId": "" if number == 1 else f"{1:016x}", "name": text,
            "traceState": text, "startTimeUnixNano": str(NANOSECONDS + 100_000_000_000 + number * 10**9),
            "endTimeUnixNano": str(NANOSECONDS + 100_500_000_000 + number * 10**9), "attributes": _attributes(**said, **one),
            "events": [{"name": text, "timeUnixNano": str(NANOSECONDS),
                        "attributes": _attributes(**{text: text, "exception.message": text})}],
            "links": [{"traceId": "12" * 16, "spanId": "34" * 8, "traceState": text, "attributes": _attributes(**{text: text})}],
            "status": {"code": 2, "message": text} if "error.type" in one else {},
        }
        for number, one in enumerate(each, 1)
    ]  # fmt: skip
    made.append(made[0] | {"traceId": text})  # no ID: quarantined
    return {"resourceSpans": [{"resource": resource, "schemaUrl": text, "scopeSpans": [{"scope": scope, "spans": made}]}]}


def logs(text: str) -> dict[str, Any]:
    resource, scope = _context(text)
    fixed = {"traceId": trace_of(text, "otlp"), "spanId": f"{1:016x}", "timeUnixNano": str(NANOSECONDS + 120 * 10**9), "severityText": text}
    body = {"kvlistValue": {"values": _attributes(**{text: text, "content": f"{text} log"})}}
    made = [
        fixed | {"eventName": text, "body": {"stringValue": text}, "attributes": _attributes(**{text: text})},
        fixed | {"eventName": "gen_ai.user.message", "body": body, "attributes": _attributes(**{"session.id": text, text: text})},
    ]
    return {"resourceLogs": [{"resource": resource, "schemaUrl": text, "scopeLogs": [{"scope": scope, "logRecords": made}]}]}


def post(service: Service, address: str, body: Any) -> dict[str, Any]:
    request = urllib.request.Request(
        address, json.dumps(body).encode(),
        {"Authorization": f"Bearer {service.first_run['ingest_key']}", "Content-Type": "application/json"},
    )  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)  # type: ignore[no-any-return]
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{address}: {error.code} {error.read()[:500]!r}") from None


def plant(service: Service) -> None:
    """Every text of the corpus and its harmless twin, over both ways in."""
    run = service.first_run
    for name, text in hostile.TEXTS.items():
        assert post(service, f"{run['url']}/api/v1/events", {"events": rest(text)})["quarantined"] == []
        assert len(post(service, f"{run['url']}/api/v1/events", {"events": unreadable(text)})["quarantined"]) == 4
        post(service, f"{run['url']}/api/v1/events", {"events": rest(twin(name))})
        for each in (text, twin(name)):
            assert post(service, f"{run['otlp_http']}/v1/traces", spans(each))["partialSuccess"]["rejectedSpans"] == "1"
            post(service, f"{run['otlp_http']}/v1/logs", logs(each))


def keys(service: Service) -> list[int]:
    """Numbers of keys that are named by each text that PostgreSQL can hold. Made in the database: a form would refuse some."""
    with service.connect() as conn:
        for number, text in enumerate(hostile.TEXTS.values()):
            conn.execute(
                "INSERT INTO api_key (public_id, project_id, name, scopes, secret_digest, created_at) "
                "SELECT %s, min(id), %s, ARRAY['read'], ''::bytea, now() FROM project ON CONFLICT DO NOTHING",
                (f"hostile{number:05d}", text.replace("\0", "").encode("utf-8", "replace").decode()),
            )
        conn.commit()
        return [row[0] for row in conn.execute("SELECT id FROM api_key WHERE public_id LIKE 'hostile%' ORDER BY id")]


def searches(service: Service) -> list[int]:
    """Saved searches that are named by each text, for that text. Made in the database: a form would refuse some."""
    with service.connect() as conn:
        for text in hostile.TEXTS.values():
            name = text.replace("\0", "").encode("utf-8", "replace").decode()[:80]
            conn.execute(
                "INSERT INTO saved_search (project_id, user_id, name, query, shared) "
                "SELECT (SELECT min(id) FROM project), min(id), %s, %s, false FROM auth_user ON CONFLICT DO NOTHING",
                (name, urlencode({"customer_id": text[:500], "q": text[:500], "outcome": text[:500]})),
            )
        conn.commit()
        return [row[0] for row in conn.execute("SELECT id FROM saved_search ORDER BY id")]
