"""Owns the static table that says which attribute key belongs to which field of an event, and which keys carry a session ID.

A field is the unit of erasure: every value of an event belongs to exactly one. The table only sorts keys; what a value
*means* is decided later (normalise), so a wrong guess here costs granularity of erasure, never a value. The version is kept
in each skeleton; a changed table is a new version, because old events keep the sorting that they were committed under.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

VERSION: Final = 1

SYSTEM, TOOLS, INPUT, OUTPUT, REASONING, ARGUMENTS, RESULT, IDENTITY, RESOURCE, OTHER, BODY, EVENTS = range(1, 13)
NAMES: Final = {
    SYSTEM: "system prompt", TOOLS: "tools", INPUT: "input", OUTPUT: "output", REASONING: "reasoning", ARGUMENTS: "arguments",
    RESULT: "result", IDENTITY: "identity", RESOURCE: "resource", OTHER: "other attributes", BODY: "body", EVENTS: "links and events",
}  # fmt: skip


def names(numbers: Iterable[int]) -> list[str]:
    """As people read them."""
    return [NAMES[number] for number in numbers]


# Fields whose long values sessions share: their content lies under a prefix of its own, once for all sessions.
SHARED: Final = frozenset({SYSTEM, TOOLS, RESOURCE})

# Keys that carry a session ID, best first. It gives content its place on disk and a log without trace its key, nothing else.
SESSION_KEYS: Final = (
    "session.id",
    "gen_ai.conversation.id",
    "session_id",
    "langfuse.session.id",
    "traceloop.association.properties.session_id",
    "lmnr.association.properties.session_id",
    "ai.telemetry.metadata.sessionId",
    "langsmith.trace.session_id",
)
_SESSION_RANK: Final = {key: rank for rank, key in enumerate(SESSION_KEYS)}
NO_RANK: Final = 99

# First match wins; matched against the lower-case key. Order: the narrow before the wide.
_RULES: Final = tuple((field, re.compile(pattern, re.VERBOSE)) for field, pattern in (
    (ARGUMENTS, r"(^|[._])tool[._](call[._])?(function[._])?(arguments|args|parameters|input)$ | ^ai\.toolcall\.args$ | ^tool_arguments$"),
    (RESULT, r"(^|[._])tool[._](call[._])?(result|response|output)$ | ^ai\.toolcall\.result$ | ^tool_response$"),
    (SYSTEM, r"system_instructions?$ | system_prompt | system\.message | ^system$ | instructions$ | prompt_template"),
    (TOOLS, r"""tool[._]definitions | ^llm\.tools\. | request\.functions\. | ^ai\.prompt\.tools | tools_offered | ^tools$
        | json_schema$ | available_tools"""),
    (REASONING, r"(^|[._])(reasoning|thinking)([._](content|text|summary))?$ | reasoning_content"),
    (IDENTITY, r"""(session|conversation|thread|user|customer|enduser|account|patient|tenant|member|ticket)[._]?id
        | ^(user|enduser|customer|client|session)\. | [._](email|phone|ip_address|username|user)$
        | ^(agent|about|id|trace_id|parent_id)(\.|$) | ^metadata$ | association\.properties | telemetry\.metadata | \.metadata\."""),
    (INPUT, r"""input[._]messages | (^|[._])(prompts?|input|inputs|request_data|spaninputs|query|question)(\.|$) | \.prompt\."""),
    (OUTPUT, r"""output[._]messages | (^|[._])(completions?|output|outputs|response_data|spanoutputs|answer|documents)(\.|$)
        | \.response\.(text|object|toolcalls)"""),
))  # fmt: skip

# Keys that conventions define are written as their place in this list: 20 bytes less for each attribute of each event, seven
# years long. Only ever append; a key in the wrong place would rename attributes of stored events (a test holds the list).
INTERNED: Final = (
    "session.id", "user.id", "customer.id", "gen_ai.conversation.id", "gen_ai.agent.name", "gen_ai.agent.id", "gen_ai.agent.version",
    "gen_ai.agent.description", "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.system", "gen_ai.request.model",
    "gen_ai.response.model", "gen_ai.request.temperature", "gen_ai.request.max_tokens", "gen_ai.request.top_p", "gen_ai.request.top_k",
    "gen_ai.request.seed", "gen_ai.request.frequency_penalty", "gen_ai.request.presence_penalty", "gen_ai.request.stop_sequences",
    "gen_ai.request.choice.count", "gen_ai.response.id", "gen_ai.response.finish_reasons", "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens", "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens", "gen_ai.usage.total_tokens",
    "gen_ai.system_instructions", "gen_ai.tool.definitions", "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.output.type",
    "gen_ai.tool.name", "gen_ai.tool.type", "gen_ai.tool.description", "gen_ai.tool.call.id", "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result", "gen_ai.event.content", "gen_ai.prompt", "gen_ai.completion", "server.address", "server.port", "error.type",
    "openinference.span.kind", "input.value", "input.mime_type", "output.value", "output.mime_type", "metadata", "agent.name", "tool.name",
    "tool.description", "tool.parameters", "tool_call.id", "llm.model_name", "llm.provider", "llm.system", "llm.invocation_parameters",
    "llm.token_count.prompt", "llm.token_count.completion", "llm.token_count.total", "llm.token_count.prompt_details.cache_read",
    "llm.token_count.completion_details.reasoning", "llm.request.type", "traceloop.span.kind", "traceloop.entity.name",
    "traceloop.entity.path", "traceloop.workflow.name", "traceloop.entity.input", "traceloop.entity.output", "exception.type",
    "exception.message", "exception.stacktrace", "exception.escaped", "code.function", "code.filepath", "code.lineno", "thread.id",
    "thread.name", "http.request.method", "http.response.status_code", "url.full", "url.path", "event.name", "logfire.msg",
    "logfire.msg_template", "logfire.span_type", "logfire.json_schema",
)  # fmt: skip
_INTERNED_AT: Final = {key: place for place, key in enumerate(INTERNED)}

_MEMO_KEYS: Final = 20_000  # keys are the sender's; a hostile one may invent them without end
_MEMO_LONGEST: Final = 256  # characters; a key may be as long as a body, and would be kept for as long as the process lives


class _Memo(dict[str, tuple[int, int, int | str]]):
    """What is known of keys: a look-up that runs no Python where the key has been seen, because every attribute asks."""

    def __missing__(self, key: str) -> tuple[int, int, int | str]:
        lowered = key.lower()
        field = next((field for field, pattern in _RULES if pattern.search(lowered)), OTHER)
        rank = _SESSION_RANK.get(key, NO_RANK)
        found = (IDENTITY if rank != NO_RANK else field, rank, _INTERNED_AT.get(key, key))
        if len(key) <= _MEMO_LONGEST:
            if len(self) >= _MEMO_KEYS:
                self.clear()
            self[key] = found
        return found


_memo: Final = _Memo()
field_of: Final = _memo.__getitem__
"""(field, session rank, name) of an attribute key: the rank is NO_RANK unless the key carries a session ID, 0 is best; the
name is what the skeleton writes for the key (its place in INTERNED, else the key itself)."""


def key_of(name: int | str) -> str:
    """The attribute key that a skeleton's name stands for."""
    return INTERNED[name] if isinstance(name, int) else name


def placed(name: int | str) -> tuple[str, int]:
    """(attribute key, field) that a skeleton's name stands for."""
    if isinstance(name, int):
        return _INTERNED_PLACED[name]
    return name, field_of(name)[0]


_INTERNED_PLACED: Final = tuple((key, field_of(key)[0]) for key in INTERNED)
