"""Owns that a line of the log is one JSON object which holds nothing that was sent, whatever went wrong."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from auditlog.platform import logs

SECRET = 'ACME-2024 "said"\n{"event": "forged"}'


def line(name: str, message: Any, *arguments: Any, **more: Any) -> dict[str, Any]:
    record = logging.getLogger(name).makeRecord(name, logging.ERROR, "/x/library.py", 7, message, arguments, more.pop("exc_info", None))
    vars(record).update(more)
    text = logs.JsonFormatter().format(record)
    assert "\n" not in text
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_line_of_ours_has_its_event_its_level_and_its_fields() -> None:
    found = line("auditlog.jobs", "job.done", job=7, kinds=["a"])
    assert found.pop("at").endswith("Z")
    assert found == {"level": "error", "logger": "auditlog.jobs", "event": "job.done", "job": 7, "kinds": ["a"]}


def test_of_an_object_in_a_field_its_kind_is_written() -> None:
    assert line("auditlog.web", "page.failed", who=ValueError(SECRET), many=[object()]) | {"at": ""} == {
        "at": "", "level": "error", "logger": "auditlog.web", "event": "page.failed", "who": "ValueError", "many": ["object"],
    }  # fmt: skip


@pytest.mark.parametrize(("message", "arguments"), [("%s: %s", (SECRET, 1)), (SECRET, ()), ("%(x)s", ({"x": SECRET},))])
def test_of_a_library_the_template_and_the_place_are_written_and_no_values(message: str, arguments: tuple[Any, ...]) -> None:
    found = line("django.request", message, *arguments, request=SECRET, status_code=404)
    assert SECRET not in found.values() and found["event"] == "library.logged"
    assert (found["where"], found["status"], found.get("template")) == ("library.py:7", 404, message if arguments else None)


def failing() -> None:
    try:
        raise psycopg.errors.UniqueViolation(SECRET)
    except psycopg.Error as error:
        raise RuntimeError(SECRET) from error


def test_of_an_error_its_kind_its_place_and_its_cause_are_written_and_not_its_text() -> None:
    try:
        failing()
    except RuntimeError as error:
        found = line("auditlog.api.errors", "api.internal", exc_info=(RuntimeError, error, error.__traceback__))["exception"]
    assert found["kind"] == "RuntimeError"
    assert [frame.split(" ")[1] for frame in found["stack"]][-1] == "failing"
    assert found["cause"]["kind"] == "UniqueViolation"
    assert "ACME" not in json.dumps(found)
    assert logs.described(psycopg.errors.UniqueViolation(SECRET))["sqlstate"] == "23505"


def test_a_line_within_a_traced_request_has_its_trace() -> None:
    assert "trace_id" not in line("auditlog", "a.b")
    with trace.use_span(NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1)))):
        assert line("auditlog", "a.b")["trace_id"] == f"{0xABC:032x}"


@pytest.fixture
def caught(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What a process writes that has called `catch`."""
    found: list[dict[str, Any]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(json.loads(logs.JsonFormatter().format(record)))

    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(logging, "captureWarnings", lambda _: None)
    monkeypatch.setattr(logs.logger, "handlers", [Keep()])
    logs.catch()
    return found


def in_thread(error: BaseException) -> None:
    def run() -> None:
        raise error

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def at_top(error: BaseException) -> None:
    sys.excepthook(type(error), error, None)


@pytest.mark.parametrize("ends", [in_thread, at_top])
def test_an_error_that_nobody_catches_becomes_a_line_too(
    ends: Callable[[BaseException], None], caught: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    ends(ValueError(SECRET))
    (found,) = caught
    assert (found["event"], found["level"], found["exception"]["kind"]) == ("process.uncaught", "critical", "ValueError")
    assert "ACME" not in json.dumps(found) + capsys.readouterr().err
