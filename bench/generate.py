"""Owns the load: synthetic agent sessions, deterministic from a seed, as OTLP trace requests ready to send.

One session is one trace: a root span, model calls that each carry the whole conversation so far, a 3 KB system prompt and six
tool schemas (4 KB), and tool spans between. With the default of 6 to 10 model calls that is 16.75 spans and 168 KB of raw OTLP a
session. Spans leave in the order in which they end, eight sessions interleaved, as one busy process sends. Two forms, of the same
sessions: OpenTelemetry (`gen_ai.*`, conversations as JSON) and OpenInference (`llm.*`, flattened, an attribute for each part of a
message). OpenInference's instrumentors repeat the whole request in `input.value`, too; this one does not, so that both say the same.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

BASE_NS = 1_790_000_000 * 10**9  # fixed, so that the same seed gives the same bytes
TOOLS = ["lookup_order", "search_policy", "get_customer", "issue_credit", "send_email", "escalate_case"]
MODELS = ["gpt-4.1", "gpt-4o", "gpt-4o-mini", "claude-sonnet-4", "o3"]
_COMMON = [
    "the",
    "to",
    "of",
    "and",
    "a",
    "in",
    "is",
    "for",
    "order",
    "customer",
    "refund",
    "credit",
    "account",
    "policy",
    "we",
    "you",
    "that",
    "on",
    "with",
    "this",
    "be",
    "are",
    "please",
    "check",
    "status",
    "shipping",
    "delivery",
    "item",
    "payment",
    "invoice",
    "amount",
    "approve",
    "limit",
    "agent",
    "tool",
    "call",
    "result",
    "because",
    "should",
    "must",
    "not",
    "can",
    "will",
    "was",
    "has",
    "have",
    "need",
    "request",
    "reason",
    "evidence",
    "date",
    "late",
    "damaged",
    "replaced",
]


class Load(NamedTuple):
    """How the load is to look. turns: model calls per session, None for 6 to 10; spaced: JSON as Python's json.dumps writes it;
    first: number of the first session (loads of other numbers are other sessions); form: of FORMS."""

    sessions: int
    batch: int = 512
    turns: int | None = None
    spaced: bool = False
    seed: int = 1
    group: int = 8
    first: int = 0
    form: str = "OpenTelemetry"


class Fresh:
    """Loads of which none has a session of another."""

    def __init__(self) -> None:
        self._next = 0

    def __call__(self, sessions: int, **how: Any) -> Load:
        """how: of Load's fields."""
        first, self._next = self._next, self._next + sessions
        return Load(sessions, first=first, **how)


class Text:
    """Sentences of made-up words with the frequencies of real ones, so that they compress as text does."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        words = random.Random(7)
        self._words = list(_COMMON)
        while len(self._words) < 6000:
            stem = "".join(words.choice("bcdfghklmnprstvw") + words.choice("aeiou") for _ in range(words.randint(1, 4)))
            self._words.append(stem + words.choice(["", "n", "r", "s", "t"]))
        self._weights = list(itertools.accumulate(1 / (i + 3) for i in range(len(self._words))))

    def __call__(self, size: int) -> str:
        words = self.rng.choices(self._words, cum_weights=self._weights, k=max(1, size // 5))
        sentences, at = [], 0
        while at < len(words):
            length = self.rng.randint(6, 16)
            sentences.append(" ".join(words[at : at + length]).capitalize() + ".")
            at += length
        return " ".join(sentences)[:size]


class Agent(NamedTuple):
    name: str
    model: str
    instructions: str
    system: str  # the same as JSON
    schemas: list[str]  # JSON, one for each tool
    tools: str  # the same as JSON


def agents(dumps: Any, count: int = len(MODELS)) -> list[Agent]:
    text = Text(random.Random(11))
    made = []
    for number in range(count):
        model = MODELS[number % len(MODELS)]
        instructions = f"You are support agent {number}. " + text(3000)
        system = dumps([{"type": "text", "content": instructions}])
        tools = []
        for name in TOOLS:
            kinds = [("order_id", "string"), ("customer_id", "string"), ("amount", "number"), ("reason", "string"), ("options", "object")]
            properties = {key: {"type": kind, "description": text(70)} for key, kind in kinds[: 3 + len(name) % 3]}
            parameters = {"type": "object", "properties": properties, "required": list(properties)[:2], "additionalProperties": False}
            tools.append({"type": "function", "name": name, "description": text(220), "parameters": parameters})
        made.append(Agent(f"support-agent-{number}", model, instructions, system, [dumps(tool) for tool in tools], dumps(tools)))
    return made


def put(span: Span, key: str, value: Any) -> None:
    made: Any = span.attributes.add(key=key).value
    if isinstance(value, str):
        made.string_value = value
    elif isinstance(value, int):
        made.int_value = value
    elif isinstance(value, float):
        made.double_value = value
    else:
        made.array_value.SetInParent()
        for element in value:
            made.array_value.values.add(string_value=element)


class Session:
    """Makes the spans of one session, in the order in which they end; OpenTelemetry GenAI form."""

    def __init__(self, number: int, load: Load, agent: Agent, text: Text, dumps: Any) -> None:
        self.rng = text.rng
        self.text, self.agent, self.dumps = text, agent, dumps
        self.trace_id = self.rng.randbytes(16)
        self.root_id = self.rng.randbytes(8)
        self.session, self.order = f"sess-{number:08d}", f"ORD-{number:07d}"
        self.user, self.customer = f"user-{self.rng.randrange(2000):05d}", f"cust-{self.rng.randrange(500):05d}"
        self.at = BASE_NS + int((number - load.first) * 30 * 86400 / load.sessions * 1e9)
        self.turns = load.turns or self.rng.randint(6, 10)
        self.doubles = 0.1  # share of turns that call two tools

    def _span(self, name: str, kind: int, milliseconds: int, operation: str) -> Span:
        span = Span(trace_id=self.trace_id, span_id=self.rng.randbytes(8), parent_span_id=self.root_id, name=name, kind=kind)  # type: ignore[arg-type]
        span.start_time_unix_nano = self.at
        self.at += milliseconds * 10**6
        span.end_time_unix_nano = self.at
        self._who(span, operation)
        span.status.code = 1  # type: ignore[assignment]
        return span

    def spans(self) -> Iterator[Span]:
        started = self.at
        request = f"My order {self.order} arrived late. " + self.text(300)
        said: list[Any] = [{"role": "user", "parts": [{"type": "text", "content": request}]}]
        final = ""
        for turn in range(self.turns):
            last = turn == self.turns - 1
            parts: list[Any] = [{"type": "reasoning", "content": self.text(self.rng.randint(400, 1200))}]
            if last:
                final = f"Order {self.order} is resolved. " + self.text(500)
                parts.append({"type": "text", "content": final})
            calls = [] if last else [self._call() for _ in range(2 if self.rng.random() < self.doubles else 1)]
            parts += calls
            yield self._model_call(said, parts, "stop" if last else "tool_calls")
            said.append({"role": "assistant", "parts": parts})
            for call in calls:
                result = self._result(call)
                yield self._tool_run(call, result)
                said.append({"role": "tool", "parts": [{"type": "tool_call_response", "id": call["id"], "response": result}]})
        root = self._span(f"invoke_agent {self.agent.name}", 1, 1, "invoke_agent")
        root.span_id, root.parent_span_id, root.start_time_unix_nano = self.root_id, b"", started
        self._whole(root, request, final)
        yield root

    def _call(self) -> dict[str, Any]:
        arguments = {"order_id": self.order, "customer_id": self.customer, "reason": self.text(80)}
        return {"type": "tool_call", "id": f"call_{self.rng.getrandbits(64):016x}", "name": self.rng.choice(TOOLS), "arguments": arguments}

    def _result(self, call: dict[str, Any]) -> str:
        return str(self.dumps({"order_id": self.order, "status": "late", "notes": self.text(self.rng.randint(500, 1600))}))

    def _model_call(self, said: list[Any], parts: list[Any], finish: str) -> Span:
        span = self._span(f"chat {self.agent.model}", 3, self.rng.randrange(600, 4000), "chat")
        self._asked(span, said, {"role": "assistant", "parts": parts, "finish_reason": finish}, f"resp_{self.rng.getrandbits(64):016x}")
        return span

    def _tool_run(self, call: dict[str, Any], result: str) -> Span:
        span = self._span(f"execute_tool {call['name']}", 1, self.rng.randrange(20, 800), "execute_tool")
        self._ran(span, call, result)
        return span

    def _who(self, span: Span, operation: str) -> None:
        for key, value in (
            ("gen_ai.conversation.id", self.session), ("session.id", self.session), ("user.id", self.user), ("customer.id", self.customer),
            ("gen_ai.agent.name", self.agent.name), ("gen_ai.operation.name", operation),
        ):  # fmt: skip
            put(span, key, value)

    def _asked(self, span: Span, said: list[Any], answer: dict[str, Any], response: str) -> None:
        prompt, output = self.dumps(said), self.dumps([answer])
        for key, value in (
            ("gen_ai.provider.name", "openai"), ("gen_ai.request.model", self.agent.model), ("gen_ai.response.model", self.agent.model),
            ("gen_ai.request.temperature", 0.2), ("gen_ai.request.max_tokens", 4096), ("gen_ai.response.id", response),
            ("gen_ai.response.finish_reasons", [answer["finish_reason"]]), ("gen_ai.usage.input_tokens", (7000 + len(prompt)) // 4),
            ("gen_ai.usage.output_tokens", len(output) // 4), ("gen_ai.system_instructions", self.agent.system),
            ("gen_ai.tool.definitions", self.agent.tools), ("gen_ai.input.messages", prompt), ("gen_ai.output.messages", output),
        ):  # fmt: skip
            put(span, key, value)

    def _ran(self, span: Span, call: dict[str, Any], result: str) -> None:
        for key, value in (
            ("gen_ai.tool.name", call["name"]), ("gen_ai.tool.type", "function"), ("gen_ai.tool.call.id", call["id"]),
            ("gen_ai.tool.call.arguments", self.dumps(call["arguments"])), ("gen_ai.tool.call.result", result),
        ):  # fmt: skip
            put(span, key, value)

    def _whole(self, root: Span, request: str, final: str) -> None:
        for key, role, content in (("gen_ai.input.messages", "user", request), ("gen_ai.output.messages", "assistant", final)):
            put(root, key, self.dumps([{"role": role, "parts": [{"type": "text", "content": content}]}]))


class OpenInference(Session):
    """The same session as OpenInference's instrumentors write it."""

    KINDS: Final = {"chat": "LLM", "execute_tool": "TOOL", "invoke_agent": "AGENT"}

    def _who(self, span: Span, operation: str) -> None:
        for key, value in (
            ("openinference.span.kind", self.KINDS[operation]), ("metadata", self.dumps({"customer_id": self.customer, "env": "prod"})),
            ("session.id", self.session), ("user.id", self.user), ("customer.id", self.customer), ("agent.name", self.agent.name),
        ):  # fmt: skip
            put(span, key, value)

    def _asked(self, span: Span, said: list[Any], answer: dict[str, Any], response: str) -> None:
        asked, answered = (7000 + len(self.dumps(said))) // 4, len(self.dumps([answer])) // 4
        for key, value in (
            ("llm.model_name", self.agent.model), ("llm.provider", "openai"), ("llm.system", "openai"),
            ("llm.invocation_parameters", self.dumps({"temperature": 0.2, "max_tokens": 4096})),
            ("llm.finish_reason", answer["finish_reason"]),
            ("llm.token_count.prompt", asked), ("llm.token_count.completion", answered), ("llm.token_count.total", asked + answered),
        ):  # fmt: skip
            put(span, key, value)
        for number, schema in enumerate(self.agent.schemas):
            put(span, f"llm.tools.{number}.tool.json_schema", schema)
        system = {"role": "system", "parts": [{"type": "text", "content": self.agent.instructions}]}
        for number, message in enumerate([system, *said]):
            self._message(span, f"llm.input_messages.{number}.message", message)
        self._message(span, "llm.output_messages.0.message", answer)

    def _message(self, span: Span, at: str, message: dict[str, Any]) -> None:
        put(span, f"{at}.role", message["role"])
        thoughts, calls = itertools.count(), itertools.count()
        for part in message["parts"]:
            if part["type"] == "reasoning":
                place = f"{at}.contents.{next(thoughts)}.message_content"
                named = {f"{place}.type": "reasoning", f"{place}.text": part["content"]}
            elif part["type"] == "tool_call":
                place = f"{at}.tool_calls.{next(calls)}.tool_call"
                named = {f"{place}.id": part["id"], f"{place}.function.name": part["name"]}
                named[f"{place}.function.arguments"] = self.dumps(part["arguments"])
            elif part["type"] == "tool_call_response":
                named = {f"{at}.tool_call_id": part["id"], f"{at}.content": part["response"]}
            else:
                named = {f"{at}.content": part["content"]}
            for key, value in named.items():
                put(span, key, value)

    def _ran(self, span: Span, call: dict[str, Any], result: str) -> None:
        put(span, "tool.name", call["name"])
        put(span, "tool_call.id", call["id"])
        self._values(span, self.dumps(call["arguments"]), result, "application/json")

    def _whole(self, root: Span, request: str, final: str) -> None:
        self._values(root, request, final, "text/plain")

    def _values(self, span: Span, given: str, came: str, mime: str) -> None:
        for key, value in (("input.value", given), ("input.mime_type", mime), ("output.value", came), ("output.mime_type", mime)):
            put(span, key, value)


FORMS: Final[dict[str, type[Session]]] = {"OpenTelemetry": Session, "OpenInference": OpenInference}


def spans(load: Load) -> Iterator[Span]:
    """All spans of the load, in order of arrival."""
    separators = (", ", ": ") if load.spaced else (",", ":")

    def dumps(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, separators=separators)

    known, text, end = agents(dumps), Text(random.Random()), load.first + load.sessions
    for first in range(load.first, end, load.group):
        queues = []
        for number in range(first, min(first + load.group, end)):
            text.rng = random.Random(f"{load.seed}:{number}")
            queues.append(list(FORMS[load.form](number, load, known[number % len(known)], text, dumps).spans()))
        yield from interleaved(queues)


def interleaved(queues: list[list[Span]]) -> Iterator[Span]:
    """One of each in turn, until all are empty."""
    turn = 0
    while queues:
        queue = queues[turn % len(queues)]
        yield queue.pop(0)
        if not queue:
            queues.remove(queue)
        else:
            turn += 1


def bodies(load: Load) -> Iterator[tuple[int, bytes]]:
    """(spans, serialised request) until the load is sent."""
    source = spans(load)
    while batch := list(itertools.islice(source, load.batch)):
        yield len(batch), body(batch)


def body(batch: list[Span]) -> bytes:
    """One serialised request."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    for key, value in (("service.name", "support-agents"), ("service.version", "1.4.2")):
        resource.resource.attributes.add(key=key).value.string_value = value
    scope = resource.scope_spans.add()
    scope.scope.name, scope.scope.version = "bench", "1"
    scope.spans.extend(batch)
    return bytes(request.SerializeToString())
