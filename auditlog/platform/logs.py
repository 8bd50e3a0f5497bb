"""Owns the form of a log line: one JSON object with a constant event name, identifiers as fields, never stored content.

logger.info("job.done", extra={"job": 7})  →  {"at": "…", "level": "info", "logger": "auditlog.jobs", "event": "job.done", "job": 7}
docs/reference/logs.md lists every event. Of an error its kind and its place in the code are written, never its text, which may quote
content; but one of settings says what to do. What a library logs is written as its template and its place in that library's code.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from types import TracebackType
from typing import Any, Final

from opentelemetry import trace

from auditlog import conf

LIBRARY: Final = "library.logged"
_OURS: Final = ("auditlog", "agents_app")
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_DEEPEST: Final = 30  # frames of one error; the innermost are kept
_SCALARS: Final = (str, int, float, bool, type(None))

logger = logging.getLogger("auditlog.process")


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {"at": f"{seconds}.{int(record.msecs):03d}Z", "level": record.levelname.lower(), "logger": record.name}
        line |= _fields(record) if record.name.partition(".")[0] in _OURS else _of_library(record)
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            line["trace_id"] = trace.format_trace_id(span.trace_id)
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = described(record.exc_info[1])
        return json.dumps(line)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    given = {name: _value(value) for name, value in vars(record).items() if name not in _STANDARD}
    return {"event": str(record.msg), **given}  # a name takes no arguments, so there is nothing to put together


def _of_library(record: logging.LogRecord) -> dict[str, object]:
    line: dict[str, object] = {"event": LIBRARY, "where": f"{record.filename}:{record.lineno}"}
    if record.args:  # without arguments the text may have been put together before, of anything
        line["template"] = str(record.msg)
    if isinstance(status := getattr(record, "status_code", None), int):  # Django's, of a request that it refused
        line["status"] = status
    return line


def _value(value: Any) -> object:
    """A field as it is; of what is no plain value its kind, because its text may be anything."""
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, dict):
        return {str(name): _value(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_value(inner) for inner in value]
    return type(value).__name__


def described(error: BaseException) -> dict[str, object]:
    """Its kind, where it was raised, outermost call first, what PostgreSQL calls it, and what caused it. Its text only of a setting."""
    found: dict[str, object] = {"kind": type(error).__name__, "stack": _stack(error.__traceback__)}
    if isinstance(error, conf.SettingError):
        found["message"] = str(error)  # of a setting or a file of the service: written here, for the operator, and of no content
    if isinstance(code := getattr(error, "sqlstate", None), str):
        found["sqlstate"] = code
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        found["cause"] = {"kind": type(cause).__name__, "stack": _stack(cause.__traceback__)}
    return found


def _stack(place: TracebackType | None) -> list[str]:
    frames = []
    while place is not None:
        code = place.tb_frame.f_code
        frames.append(f"{code.co_filename.rsplit('/', 1)[-1]}:{place.tb_lineno} {code.co_name}")
        place = place.tb_next
    return frames[-_DEEPEST:]


def configure(level: int = logging.INFO) -> None:
    """For a process without Django's settings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    catch()


def catch() -> None:
    """What nobody caught, and warnings, become lines as well: Python itself would write their text."""
    sys.excepthook = lambda kind, error, place: _uncaught(error.with_traceback(place) if error else kind())
    threading.excepthook = lambda what: _uncaught(what.exc_value) if what.exc_value else None
    logging.captureWarnings(True)


def _uncaught(error: BaseException) -> None:
    if isinstance(error, SystemExit | KeyboardInterrupt):
        return
    logger.critical("process.uncaught", exc_info=error)
