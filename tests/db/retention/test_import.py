"""Owns the checks of `manage.py import`: what a file brings in is evidence like any other, once, and its import is recorded."""

from __future__ import annotations

import gzip
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.db.retention.conftest import Case


def document(session: str) -> bytes:
    attributes = [
        {"key": "session.id", "value": {"stringValue": session}},
        {"key": "openinference.span.kind", "value": {"stringValue": "LLM"}},
    ]
    span = {"traceId": "0a" * 16, "spanId": "0b" * 8, "name": "chat", "startTimeUnixNano": "1546300800000000000", "attributes": attributes}
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span | {"endTimeUnixNano": "1546300801000000000"}]}]}]}).encode()


def run(case: Case, *arguments: Any) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("import", "--project", case.row.slug, "--otlp", *map(str, arguments), stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_a_file_of_2019_is_received_today_becomes_a_session_and_is_stored_once(case: Case, tmp_path: Path) -> None:
    file = tmp_path / "old.jsonl.gz"
    file.write_bytes(gzip.compress(document("of-2019") + b"\n"))
    report = tmp_path / "report"
    assert "1 stored, 0 were stored before" in run(case, file, "--report", report)[0]
    assert "0 stored, 1 were stored before" in run(case, file)[0]
    case.derive()
    assert case.sessions() == ["of-2019"] and case.faults() == []
    query = "SELECT occurred_at::date::text, now() - received_at < interval '1 hour', item FROM event WHERE project_id = %s AND item = 1"
    assert [row[:2] for row in case.rows(query, case.id)] == [("2019-01-01", True)]
    [line] = [json.loads(text) for text in report.read_text().splitlines()]
    batch = dict(part.split("=") for part in line["receipt"].split(";"))
    [[root]] = case.rows("SELECT receipt_root FROM batch WHERE batch_no = %s AND protocol = 6", int(batch["batch"]))
    assert (line["first_line"], line["last_line"], batch["root"]) == (1, 1, bytes(root).hex())


def test_what_was_refused_is_named_makes_it_fail_and_the_import_is_recorded_with_its_counts(case: Case, tmp_path: Path) -> None:
    file = tmp_path / "some.jsonl"
    file.write_bytes(b"no document\n" + document("s-1"))
    out, err = StringIO(), StringIO()
    with pytest.raises(CommandError, match="Not all of it"):
        call_command("import", "--project", case.row.slug, "--otlp", str(file), stdout=out, stderr=err)
    assert f"{file}:1: body_undecodable: " in err.getvalue() and "1 stored" in out.getvalue() and "1 documents refused" in out.getvalue()
    recorded = case.rows("SELECT encode(vals, 'escape') FROM event WHERE project_id = %s AND item = 4 ORDER BY batch_no", case.id)
    assert ['"import.end"' in text for [text] in recorded] == [False, True] and all(str(file) in text for [text] in recorded)
    assert '"stored":1' in recorded[1][0] and '"refused":1' in recorded[1][0]
    with pytest.raises(CommandError, match="No such file"):
        run(case, tmp_path / "none")
