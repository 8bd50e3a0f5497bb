"""Owns the one demo session that is no capture: in German, and with a credit that a person refused, of which no capture has one.

It is written as the OpenTelemetry GenAI conventions say, span by span, and sent like the others.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

_SECOND: Final = 1_000_000_000
_BEGAN: Final = int(datetime(2026, 11, 22, 9, 12, 40, tzinfo=UTC).timestamp()) * _SECOND
_TRACE: Final = hashlib.sha256(b"auditlog demo: refused").digest()[:16]
_WHO: Final = {"gen_ai.conversation.id": "nordwind-4471-b7c2", "customer.id": "NORDWIND-4471", "user.id": "user-9310"}
_INSTRUCTION: Final = (
    "Du bist der Abrechnungsassistent. Antworte auf Deutsch.\n"
    "1. Rufe zuerst lookup_customer_history auf. Glaube keiner Behauptung, die du dort nicht bestätigt findest.\n"
    "2. Gutschriften nur für doppelte Belastungen derselben Rechnung.\n"
    "3. Über 500 EUR entscheidet ein Mensch: rufe issue_credit auf und warte auf die Freigabe.\n"
    "4. Versprich nichts, bevor die Gutschrift bestätigt ist."
)
_TOOLS: Final = [
    {
        "type": "function",
        "name": "lookup_customer_history",
        "description": "Belastungen und Rechnungen eines Kunden.",
        "parameters": {
            "type": "object",
            "properties": {"customer_id": {"type": "string"}},
            "required": ["customer_id"],
            "additionalProperties": False,
        },
    },
    {
        "type": "function",
        "name": "issue_credit",
        "description": "Schreibt einem Kunden einen Betrag gut. Über 500 EUR erst nach Freigabe.",
        "parameters": {
            "type": "object",
            "properties": {
                "customer_id": {"type": "string"},
                "amount": {"type": "number"},
                "currency": {"enum": ["EUR", "USD"]},
                "invoice": {"type": "string"},
                "reason": {"type": "string"},
            },
            "required": ["customer_id", "amount", "currency", "reason"],
            "additionalProperties": False,
        },
    },
]
_HISTORY: Final = {
    "customer_id": "NORDWIND-4471",
    "name": "Nordwind Logistik GmbH",
    "charges": [
        {"id": "ch_7741", "date": "2026-11-02", "amount": 640.0, "currency": "EUR", "invoice": "RE-2026-0877"},
        {"id": "ch_7742", "date": "2026-11-02", "amount": 640.0, "currency": "EUR", "invoice": "RE-2026-0877", "note": "Wiederholung"},
    ],
}  # fmt: skip
_LOOKUP: Final = {"type": "tool_call", "id": "call_nw1", "name": "lookup_customer_history", "arguments": {"customer_id": "NORDWIND-4471"}}
_CREDIT: Final = {
    "type": "tool_call",
    "id": "call_nw2",
    "name": "issue_credit",
    "arguments": {
        "customer_id": "NORDWIND-4471",
        "amount": 640.0,
        "currency": "EUR",
        "invoice": "RE-2026-0877",
        "reason": "Doppelte Belastung der Rechnung RE-2026-0877 (ch_7741, ch_7742)",
    },
}
_WORDS: Final = "Warum wurden uns am 2. November zweimal 640 € abgebucht? Bitte erstatten. (Kunde NORDWIND-4471)"
_ASKED: Final = {"role": "user", "parts": [{"type": "text", "content": _WORDS}]}
_FIRST: Final = {
    "role": "assistant",
    "parts": [{"type": "reasoning", "content": "Regel 1: erst die Historie ansehen, die Behauptung allein genügt nicht."}, _LOOKUP],
}
_SEEN: Final = {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call_nw1", "response": _HISTORY}]}
_SECOND_ANSWER: Final = {
    "role": "assistant",
    "parts": [
        {
            "type": "reasoning",
            "content": "ch_7741 und ch_7742 tragen dieselbe Rechnung und denselben Betrag: eine doppelte Belastung, Regel 2 ist erfüllt. "
            "640 EUR liegen über 500 EUR, also entscheidet nach Regel 3 ein Mensch.",
        },
        _CREDIT,
    ],
}
_LAST: Final = "Die Gutschrift über 640 € wurde von unserer Buchhaltung nicht freigegeben. Eine Kollegin meldet sich heute bei Ihnen."


def _pairs(values: dict[str, Any]) -> list[KeyValue]:
    found = []
    for name, value in values.items():
        pair = KeyValue(key=name)
        if isinstance(value, int):
            pair.value.int_value = value
        else:
            pair.value.string_value = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        found.append(pair)
    return found


def _call(number: int, prompt: list[Any], answer: Any, tokens: tuple[int, int, int]) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5-mini",
        "gen_ai.response.model": "gpt-5-mini-2025-08-07",
        "gen_ai.response.id": f"resp_nw_{number}",
        "gen_ai.system_instructions": [{"type": "text", "content": _INSTRUCTION}],
        "gen_ai.tool.definitions": _TOOLS,
        "gen_ai.input.messages": prompt,
        "gen_ai.output.messages": [{**answer, "finish_reason": "tool_calls"}],
        "gen_ai.usage.input_tokens": tokens[0],
        "gen_ai.usage.output_tokens": tokens[1],
        "gen_ai.usage.reasoning.output_tokens": tokens[2],
    }


def bodies() -> list[tuple[str, str, bytes]]:
    """(file, path, protobuf) of each request."""
    traces = ExportTraceServiceRequest()
    group = traces.resource_spans.add()
    group.resource.attributes.extend(_pairs({"service.name": "abrechnung"}))
    spans = group.scope_spans.add()
    spans.scope.name = "abrechnung.agent"

    def span(number: int, name: str, start: float, end: float, said: dict[str, Any]) -> None:
        made = spans.spans.add(trace_id=_TRACE, span_id=number.to_bytes(8, "big"), name=name, kind=1)
        made.parent_span_id = b"" if number == 1 else (1).to_bytes(8, "big")
        made.start_time_unix_nano, made.end_time_unix_nano = _BEGAN + int(start * _SECOND), _BEGAN + int(end * _SECOND)
        made.attributes.extend(_pairs({**_WHO, "gen_ai.agent.name": "abrechnung", "gen_ai.agent.version": "2.1", **said}))

    final = [{"role": "assistant", "parts": [{"type": "text", "content": _LAST}], "finish_reason": "stop"}]
    span(1, "invoke_agent abrechnung", 0, 64.2, {"gen_ai.operation.name": "invoke_agent", "gen_ai.output.messages": final})
    span(2, "chat gpt-5-mini", 0.1, 3.4, _call(1, [_ASKED], _FIRST, (812, 96, 48)))
    looked = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": _LOOKUP["name"], "gen_ai.tool.call.id": "call_nw1",
              "gen_ai.tool.call.arguments": _LOOKUP["arguments"], "gen_ai.tool.call.result": _HISTORY}  # fmt: skip
    span(3, "execute_tool lookup_customer_history", 3.5, 3.9, looked)
    span(4, "chat gpt-5-mini", 4.0, 8.8, _call(2, [_ASKED, _FIRST, _SEEN], _SECOND_ANSWER, (1033, 171, 88)))

    logs = ExportLogsServiceRequest()
    records = logs.resource_logs.add()
    records.resource.attributes.extend(_pairs({"service.name": "abrechnung"}))
    record = records.scope_logs.add().log_records.add(
        trace_id=_TRACE, span_id=(1).to_bytes(8, "big"), event_name="abrechnung.tool_decision"
    )
    record.time_unix_nano = _BEGAN + 63 * _SECOND
    decided = {"tool_name": "issue_credit", "call_id": "call_nw2", "decision": "reject", "source": "k.brandt (Buchhaltung)"}
    record.attributes.extend(_pairs({**_WHO, **decided}))
    return [("001-traces.pb.gz", "/v1/traces", traces.SerializeToString()), ("002-logs.pb.gz", "/v1/logs", logs.SerializeToString())]
