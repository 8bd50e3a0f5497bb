"""Owns that the reference of verification lists exactly the codes of faults that the code has, and where each may come up."""

from __future__ import annotations

import ast
import re

from tests.pages import ROOT

ROW = re.compile(r"^\| `([a-z_]+)` \| (.*?) \| .+ \|$", re.M)
DATABASE = [f"auditlog/verify/{name}.py" for name in ("batches", "log", "timestamps", "whole")]
PLACES = {"Fault": 0, "fault": 0, "Wrong": 0, "need": 1}  # where in a call the code stands


def codes(path: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            place = PLACES.get(name)
            if place is not None and len(node.args) > place:
                constants = (part.value for part in ast.walk(node.args[place]) if isinstance(part, ast.Constant))
                found |= {value for value in constants if isinstance(value, str)}
    return found


def test_the_reference_lists_every_code_and_where_it_may_come_up() -> None:
    offline = codes("auditlog/verify/standalone.py") | {"file_outside", "file_missing"}
    database = set().union(*map(codes, DATABASE)) | {"unreadable", "checkpoint_unreadable"}
    listed = dict(ROW.findall((ROOT / "docs/reference/verification.md").read_text()))
    assert {code for code, where in listed.items() if "export" in where} == offline
    assert {code for code, where in listed.items() if "database" in where} == database
