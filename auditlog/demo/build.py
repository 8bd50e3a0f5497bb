"""Owns how the demo is made from captured bodies: `python -m auditlog.demo.build`, run when the demo is to change, not when it is loaded.

All captures are of one script with one customer. The first is copied byte for byte: the $400 case. In the others the same
strings are replaced everywhere (customer, user, session, invoice, credit, amount, IDs of responses and calls) and trace and
span IDs are mapped, so that a dozen customers' sessions do not claim to be one. Everything else is as the libraries sent it.
The last is no capture (`auditlog.demo.written`).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any, Final, NamedTuple

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from auditlog import conf
from auditlog.demo import written

CASES: Final = conf.ROOT / "tests" / "fixtures" / "otlp" / "cases"
SESSIONS: Final = Path(__file__).parent / "sessions"
IDS: Final = frozenset({"trace_id", "span_id", "parent_span_id"})


class Wanted(NamedTuple):
    case: str
    customer: str
    user: str
    amount: int


KEPT: Final = "pydantic-ai-v5/refund"  # with its reasoning, and nothing missing
WANTED: Final = (
    Wanted("openinference/chat_refund", "GLOBEX-1871", "user-5120", 129),
    Wanted("otel_genai_event_only/anthropic_refund", "INITECH-0042", "user-6033", 75),
    Wanted("openinference/chat_hallucinated_tool", "UMBRELLA-3300", "user-7204", 240),
    Wanted("openinference/anthropic_invalid_args", "HOOLI-7788", "user-8415", 310),
    Wanted("openinference/anthropic_large_result", "GLOBEX-1871", "user-5120", 88),
    Wanted("openai_v2_span_and_event/chat_refund", "STARK-9001", "user-9526", 199),
    Wanted("openai_v2_span_only/chat_invalid_args", "WAYNE-0007", "user-1637", 420),
    Wanted("openai_v2_event_only/chat_stream_refund", "TYRELL-2049", "user-2748", 149),
    Wanted("openinference/responses_refund", "CYBERDYNE-800", "user-3859", 350),
    Wanted("otel_genai_event_only/chat_invalid_args", "INITECH-0042", "user-6034", 65),
    Wanted("openai-agents-openinference/runaway", "SOYLENT-1973", "user-4960", 275),
)


class Rewriter:
    def __init__(self, wanted: Wanted, facts: list[dict[str, Any]]) -> None:
        tag = hashlib.sha256(wanted.case.encode()).digest()
        self._mask = int.from_bytes(tag[:8], "big")
        self._amount = wanted.amount
        known = {fact["kind"]: str(fact["value"]) for fact in facts}
        session = f"{wanted.customer.lower()}-{tag[:4].hex()}"
        plain = {known["customer_id"]: wanted.customer, known["user_id"]: wanted.user, known["session_id"]: session}
        plain |= {"INV-1182": f"INV-{1200 + tag[8]}", "cr_55120": f"cr_{55200 + tag[9]}"}
        self._rules = [(re.compile(re.escape(old)), new) for old, new in plain.items()]
        self._rules += [
            (re.compile(r"(?<=[-_])Nw(?=[a-z0-9])"), "Nw" + tag[4:7].hex()),
            (re.compile(r"""(\$|_usd[\\"]+: ?|exactly )400(?!\d)"""), rf"\g<1>{wanted.amount}"),
        ]

    def text(self, value: str) -> str:
        for pattern, new in self._rules:
            value = pattern.sub(new, value)
        return value

    def id(self, value: bytes) -> bytes:
        """The same for equal IDs, another for another case, never all zero."""
        head = int.from_bytes(value[:8], "big") ^ self._mask
        return head.to_bytes(8, "big") + value[8:] if value else value

    def amount(self, pair: Message) -> None:
        """An amount that was sent as a number, not as text."""
        value: Any = pair
        if value.key.endswith(("_usd", "amount")):
            for field in ("int_value", "double_value"):
                if value.value.HasField(field) and getattr(value.value, field) == 400:
                    setattr(value.value, field, self._amount)

    def message(self, message: Message) -> None:
        if isinstance(message, KeyValue):
            self.amount(message)
        for field, value in message.ListFields():
            repeated = field.is_repeated
            if field.message_type is not None:
                for part in value if repeated else [value]:
                    self.message(part)
            elif field.type == field.TYPE_STRING:
                if repeated:
                    value[:] = [self.text(part) for part in value]
                else:
                    setattr(message, field.name, self.text(value))
            elif field.name in IDS:
                setattr(message, field.name, self.id(value))


def _bodies(case: str) -> tuple[list[dict[str, Any]], list[tuple[str, str, bytes]]]:
    folder = CASES / case
    told = json.loads((folder / "case.json").read_text())
    return told["facts"], [(body["file"], body["path"], gzip.decompress((folder / body["file"]).read_bytes())) for body in told["bodies"]]


def _write(number: int, name: str, data: bytes) -> str:
    file = f"{number:02d}-{name}"
    (SESSIONS / file).write_bytes(gzip.compress(data, 9, mtime=0))  # without a time the same input gives the same file
    return file


def main() -> None:
    shutil.rmtree(SESSIONS, ignore_errors=True)
    SESSIONS.mkdir()
    manifest = []
    for file, path, data in _bodies(KEPT)[1]:
        manifest.append({"file": _write(1, file, data), "path": path})
    for number, wanted in enumerate(WANTED, 2):
        facts, bodies = _bodies(wanted.case)
        rewriter = Rewriter(wanted, facts)
        for file, path, data in bodies:
            request = (ExportTraceServiceRequest if path == "/v1/traces" else ExportLogsServiceRequest).FromString(data)
            rewriter.message(request)
            manifest.append({"file": _write(number, file, request.SerializeToString()), "path": path})
    for file, path, data in written.bodies():
        manifest.append({"file": _write(len(WANTED) + 2, file, data), "path": path})
    (SESSIONS / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
