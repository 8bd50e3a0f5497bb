"""Owns the checks of an export's other forms: the same records as the evidence, hostile text without effect, none lost by a kill."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from auditlog.errors import Problem
from auditlog.export import files, papers, table
from auditlog.export.choice import Withheld
from auditlog.export.forms.sessions import Page
from auditlog.export.forms.write import FORMS
from auditlog.ingest.decode import decode
from auditlog.item import LOG, SPAN
from auditlog.store import fields
from auditlog.store.pack import Packer
from auditlog.web.handed import Pages
from tests.db.derived import Bench
from tests.db.sealed.conftest import HOSTILE, Stood
from tests.db.sealed.test_export import Killed, lines, manifest, verify

pytestmark = pytest.mark.django_db
ALL: dict[str, Any] = {"formats": list(FORMS)}


@pytest.fixture(scope="module")
def known(stood: Stood) -> Iterator[Stood]:
    """With its sessions."""
    bench = Bench(stood.owner, stood.project)
    bench.derive()
    yield stood
    bench.close()


@pytest.fixture(scope="module")
def made(known: Stood, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("forms") / "all"
    known.export(target, render=Pages(), **ALL)
    return target


def test_the_verifier_checks_their_bytes_and_says_that_they_prove_nothing(made: Path) -> None:
    code, said = verify(made)
    assert code == 0, said
    others = [one for one in manifest(made)["files"] if re.match("index|sessions/|csv/|otlp/|parquet/", one["path"])]
    assert f"{len(others)} files are other forms, for reading and no evidence" in said and len(others) > 12
    assert manifest(made)["formats"] == ["csv", "html", "jsonl", "otlp", "parquet"]


def test_parquet_has_every_event_with_its_types(made: Path) -> None:
    events = lines(made, "events/*.jsonl")
    found = [row for path in sorted((made / "parquet/events").iterdir()) for row in parquet.read_table(path).to_pylist()]
    assert [row["id"] for row in found] == [event["id"] for event in events]
    for row, event in zip(found, events, strict=True):
        assert (row["batch"], row["trace_id"], row["span_id"]) == (event["batch"], event["trace_id"], event["span_id"])
        assert row["received_at"].astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z") == event["received_at"]
        if "rest" in event:
            assert row["original"] == event["rest"]
        elif "otlp" in event:
            assert json.loads(row["original"]) == event["otlp"]
            sent = json.dumps(event["otlp"])
            assert all(json.dumps(key) in sent for key in json.loads(row["attributes"]))
    span = next(row for row in found if row["item"] == "span" and "gen_ai.request.model" in row["attributes"])
    assert json.loads(span["attributes"])["gen_ai.request.model"] and span["end_unix_nano"] >= span["start_unix_nano"] > 10**18


def test_otlp_files_are_requests_from_which_the_same_events_come(made: Path, known: Stood) -> None:
    ids: set[str] = set()
    for signal, number in (("traces", SPAN), ("logs", LOG)):
        for path in sorted((made / "otlp" / signal).iterdir()):
            for request in path.read_bytes().splitlines():
                packed = Packer().pack(decode(request, number, "json"), known.project.secret)
                ids |= {(one.trace_key + one.event_id).hex() for one in packed}
    expected = {event["id"] for event in lines(made, "events/*.jsonl") if "otlp" in event}
    assert expected - ids <= {known.erased} and len(ids) == len(expected)


def test_cells_do_not_act_and_say_that_they_were_changed(made: Path) -> None:
    rows = {}
    for kind in ("sessions", "actions"):
        text = (made / f"csv/{kind}.csv").read_bytes().decode("utf-8-sig")
        rows[kind] = list(csv.DictReader(text.splitlines(keepends=True)))
    hostile = next(row for row in rows["sessions"] if table.unguarded(row["session_id"]) == HOSTILE)
    assert hostile["session_id"].startswith("'=") and "session_id" in hostile["altered"].split("; ")
    assert any(not row["altered"] for row in rows["sessions"])
    refund = next(row for row in rows["actions"] if row["amount"] == "400")
    assert refund["tool"] and refund["outcome"] and refund["records"]
    found = parquet.read_table(made / "parquet/actions.parquet").to_pylist()
    assert [row["tool"] for row in found] == [table.unguarded(row["tool"]) for row in rows["actions"]]


def test_each_session_is_a_page_that_loads_nothing_and_runs_nothing(made: Path) -> None:
    pages = sorted((made / "sessions").iterdir())
    sessions = list(csv.DictReader((made / "csv/sessions.csv").read_bytes().decode("utf-8-sig").splitlines(keepends=True)))
    assert {path.stem for path in pages} == {row["session_key"] for row in sessions}
    index = (made / "index.html").read_text()
    for path in [*pages, made / "index.html"]:
        text = path.read_text()
        assert not re.search(r"<script|\ssrc=|<link|<img|<iframe|@import|url\(|\son[a-z]+=", text), path
        assert "content=\"default-src 'none'" in text and "no evidence" in text
        assert "\u202e" not in text
    for path in pages:
        assert f'href="sessions/{path.name}"' in index
    (hostile,) = [path for path in pages if "&lt;script&gt;" in path.read_text()]
    assert "U+202E" in hostile.read_text()
    records = {event["id"] for event in lines(made, "events/*.jsonl")}
    assert set(re.findall("<td>([0-9a-f]{64})</td>", hostile.read_text())) <= records


def test_what_is_withheld_stands_in_no_other_form_either(known: Stood, made: Path, tmp_path: Path) -> None:
    secret = "a secret that is in this event alone"
    event = next(one for one in lines(made, "events/*.jsonl") if secret in one.get("rest", ""))
    withheld = [Withheld(event["id"], field, "a third party", "") for field in (fields.INPUT, fields.IDENTITY)]
    known.export(tmp_path / "less", render=Pages(), withheld=withheld, **ALL)
    assert verify(tmp_path / "less")[0] == 0
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.suffix != ".parquet":
            text = path.read_text()
            assert secret not in text and HOSTILE not in text.replace("&quot;", '"').replace("&#x27;", "'"), path
    rows = [row for path in (tmp_path / "less/parquet").rglob("*.parquet") for row in parquet.read_table(path).to_pylist()]
    assert secret not in str(rows) and HOSTILE not in str(rows)
    assert secret in (made / "events/00001.jsonl").read_text() + "".join(one.read_text() for one in (made / "contents").iterdir())


def test_a_range_shows_of_a_session_what_was_received_in_it(known: Stood, tmp_path: Path) -> None:
    since, until = (known.events(number)[0].received_at for number in (2, 4))
    known.export(tmp_path / "range", render=Pages(), since=since, until=until, formats=["html", "csv"])
    assert verify(tmp_path / "range")[0] == 0
    pages = "".join(path.read_text() for path in (tmp_path / "range" / "sessions").iterdir())
    events = {event["id"] for event in lines(tmp_path / "range", "events/*.jsonl")}
    assert set(re.findall("<td>([0-9a-f]{64})</td>", pages)) == events and events


class Counted(Pages):
    set = 0

    def session(self, page: Page) -> bytes:
        self.set += 1
        return super().session(page)


def test_an_export_in_all_forms_that_was_interrupted_anywhere_ends_with_the_same_bytes(
    known: Stood, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auditlog.export.folder.timestamp_now", lambda: manifest(made)["made_at"])
    keep, broken, pages = files.Draft.keep, set[str](), Counted()

    def killed(self: files.Draft, path: str, records: int | None) -> None:
        first = path.partition("/")[0] if path.startswith("sessions/") and len(broken) > 20 else path
        if (before := f"before {first}") not in broken:
            broken.add(before)
            raise Killed
        keep(self, path, records)
        if (after := f"after {first}") not in broken:
            broken.add(after)
            raise Killed

    monkeypatch.setattr(files.Draft, "keep", killed)
    while not (tmp_path / "broken" / "manifest.json").exists():
        try:
            known.export(tmp_path / "broken", render=pages, **ALL)
        except Killed:
            continue
    assert pages.set <= len(list((made / "sessions").iterdir())) + len(broken), "it goes on, and does not begin again"
    one, other = (
        {path.relative_to(at): path.read_bytes() for path in at.rglob("*") if path.is_file()} for at in (made, tmp_path / "broken")
    )
    assert one == other


def test_what_people_read_first_names_what_is_there_and_the_two_commands(made: Path, folder: Path) -> None:
    text = (made / "README.txt").read_text()
    for name in ("index.html", "csv/", "otlp/", "parquet/", "pip install cryptography", "FOLDER/verify.py FOLDER", "A. Lawyer"):
        assert name in text, name
    assert "csv/" not in (folder / "README.txt").read_text() and "{" not in text
    for line in (text + (made / "certification.txt").read_text()).splitlines():
        assert len(line) <= 140, "it is read in a terminal, or printed"
    root = manifest(made)["checkpoint"]["root"]
    assert root in (made / "certification.txt").read_text()
    assert "\n" not in papers._line("a\nb") and "\u202e" not in papers._line("\u202ex")


def test_a_form_that_there_is_not_is_refused_before_anything_is_written(stood: Stood, tmp_path: Path) -> None:
    with pytest.raises(Problem, match="no form 'pdf' of an export"):
        stood.export(tmp_path / "x", formats=["pdf"])
    with pytest.raises(Problem, match="Leave out the form html"):
        stood.export(tmp_path / "x", formats=["html"])
    assert not (tmp_path / "x").exists()


def test_a_session_without_a_timeline_says_so_on_its_page() -> None:
    text = Pages().session(Page("k" * 26, None, [("0" * 64, 7)], "One", "2026-01-01T00:00:00.000000Z", "ValueError")).decode()
    assert "could not be made (ValueError)" in text and "batch 7" in text
