"""Owns that every line of the logs has a constant name and named fields, and that the reference lists exactly those of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from auditlog.platform.logs import LIBRARY
from tests.pages import ROOT

CODE = sorted(path for top in ("auditlog", "agents_app") for path in (ROOT / top).rglob("*.py"))
LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error", "critical": "critical"}
NAME = re.compile(r"[a-z]+\.[a-z]+(_[a-z]+)*")
ROW = re.compile(r"^\| `([a-z.]+[a-z_.]*)` \| (\w+) \| (.*?) \| .+ \|$", re.M)


class Line(NamedTuple):
    event: str
    level: str
    fields: frozenset[str]


@cache
def parsed(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(path.read_text())))


def calls(path: Path) -> Iterator[ast.Call]:
    for node in parsed(path):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="log" | "logger" | "logging"), attr=attr)):
                if attr in {*LEVELS, "log", "fatal", "warn"}:
                    yield node


def line(call: ast.Call, where: str) -> Line:
    """What a call logs. Fails where its name or its fields are put together."""
    assert isinstance(call.func, ast.Attribute) and call.func.attr in LEVELS, f"{where}: use one of {sorted(LEVELS)}"
    assert len(call.args) == 1, f"{where}: values belong into `extra`, under a name"
    (name,) = call.args
    assert isinstance(name, ast.Constant) and isinstance(name.value, str), f"{where}: the event's name must be a constant"
    assert NAME.fullmatch(name.value), f"{where}: {name.value!r} is not of the form area.what_happened"
    fields: set[str] = set()
    for keyword in call.keywords:
        assert keyword.arg in ("extra", "exc_info"), f"{where}: {keyword.arg}"
        if keyword.arg == "extra":
            assert isinstance(keyword.value, ast.Dict), f"{where}: the fields must be written out"
            for key in keyword.value.keys:
                assert isinstance(key, ast.Constant), f"{where}: a field's name must be a constant"
                fields.add(str(key.value))
        else:
            fields.add("exception")
    if call.func.attr == "exception":
        fields.add("exception")
    return Line(name.value, LEVELS[call.func.attr], frozenset(fields))


def of_code() -> set[Line]:
    return {line(call, f"{path.relative_to(ROOT)}:{call.lineno}") for path in CODE for call in calls(path)}


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_line_of_a_log_has_a_constant_name_and_written_out_fields(path: Path) -> None:
    for call in calls(path):
        line(call, f"{path.relative_to(ROOT)}:{call.lineno}")


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_logger_has_a_name_under_which_the_check_above_sees_it(path: Path) -> None:
    for node in parsed(path):
        if isinstance(node, ast.Assign) and "getLogger(" in ast.unparse(node.value):
            assert [ast.unparse(target) for target in node.targets] in (["log"], ["logger"])


@pytest.mark.parametrize(
    "code",
    [
        'log.info(f"job {number}")', 'log.info("job.done %s", x)', 'log.info(name)', 'log.info("Job.Done")', 'log.info("done")',
        'log.info("job.done", extra={name: 1})', 'log.info("job.done", extra=fields)', 'logging.log(20, "job.done")',
    ],
)  # fmt: skip
def test_the_check_sees_what_it_is_for(code: str, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(code)
    with pytest.raises(AssertionError):
        [line(call, "here") for call in calls(path)]


def test_the_reference_lists_every_event_with_its_level_and_fields_and_no_other() -> None:
    table = ROW.findall((ROOT / "docs/reference/logs.md").read_text())
    listed = {Line(event, level, frozenset(re.findall(r"`(\w+)`", fields))) for event, level, fields in table}
    assert len(listed) == len(table)
    assert listed - {Line(LIBRARY, "any", frozenset({"where", "template", "status"}))} == of_code()
    assert len(of_code()) > 20
