"""Owns the spans of the service's own requests: one per request, a child of the caller's where it sent W3C trace context.

Off until `auditlog.platform.telemetry` turns it on, and then nothing but a flag is looked at. A span names the route and never the address:
addresses hold sessions, identifiers and what was searched for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_W3C: Final = TraceContextTextMapPropagator()
_tracer: Final = trace.get_tracer("auditlog")


enabled = False  # set once, by telemetry, before the first request
_current: Final[ContextVar[Request | None]] = ContextVar("auditlog_request", default=None)


class Request:
    """What is told of one request while it is answered."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.attributes: dict[str, str | int] = {}
        self.failed = False
        self.forgotten = False

    def answered(self, status: int, code: str = "") -> None:
        """status: HTTP's, also where it was answered over gRPC; code: of the Problem, where there was one."""
        self.attributes["http.response.status_code"] = status
        self.failed = status >= 500
        if code or self.failed:
            self.attributes["error.type"] = code or str(status)


@contextmanager
def request(name: str, header: Callable[[str], str | None]) -> Iterator[Request]:
    """Around the answering of one request. name: of a handful, "POST /v1/traces"."""
    told = Request(name)
    if not enabled:
        yield told
        return
    caller = {field: value for field in _W3C.fields if (value := header(field))}
    span = _tracer.start_span(name, _W3C.extract(caller), SpanKind.SERVER)
    mark = _current.set(told)
    try:
        with trace.use_span(span, record_exception=False, set_status_on_exception=False):
            yield told
    finally:
        _current.reset(mark)
        span.update_name(told.name)
        span.set_attributes(told.attributes)
        if told.failed:
            span.set_status(StatusCode.ERROR)
        if not told.forgotten:  # a span that does not end is never exported
            span.end()


def forget() -> None:
    """The request that is being answered carries the service's own telemetry: a trace of it would be a trace of a trace."""
    current = _current.get()
    if current is not None:
        current.forgotten = True
