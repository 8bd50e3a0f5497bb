"""Owns the checks that an export says what is gone: each absence has its certificate, and a certificate that lies is named."""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from auditlog import governance
from auditlog.errors import Problem
from auditlog.export import folder as exporting
from auditlog.export.choice import Wish, Withheld
from auditlog.export.folder import export
from auditlog.export.forms.sessions import Page
from auditlog.item import Span
from auditlog.retention import dispositions
from auditlog.seal.sealer import Sealer
from auditlog.store import fields, partitions
from auditlog.store.connect import connect
from auditlog.store.reader import Reader, Row, public_id
from auditlog.verify import standalone
from auditlog.web.handed import Pages
from tests.db.api.talks import talk
from tests.db.derived import NOW
from tests.db.retention.conftest import ANA, MARKER, Case, seal
from tests.db.retention.test_erasures import carry_out, decided, restrict
from tests.db.sealed.test_mutations import PARTS, Forger, Lines, judge

CERTIFICATES = "certificates/dispositions.jsonl"


def stand(case: Case, tmp_path: Path) -> None:
    """A day of which one session is held, a day that went whole, a day that stays; all of it sealed, the certificates' records, too."""
    case.send([*talk("s-gone", 2), *talk("s-held", 2)])
    case.talk("s-old", 2, days_ago=6)
    case.send(talk("s-held", 3), days_ago=0)
    case.derive()
    case.hold(session_id="s-held")
    seal(case, tmp_path / "log.key")
    case.dispose()
    whole = partitions.bucket_at(case.class_no, "day", NOW - timedelta(days=6)).number
    case.execute(dispositions.propose(case.conn, ANA, whole).id)
    with connect("sealer", autocommit=True) as conn:
        sealer = Sealer(conn, tmp_path / "log.key")
        sealer.drain()
        sealer.release()


def exported(case: Case, folder: Path, **wish: Any) -> str:
    """Exports and verifies. Returns what the verifier says."""
    wanted: dict[str, Any] = {"project_id": case.id, "project": "Case", "recipient": "a court", "purpose": "x"} | wish
    export(case.conn, case.secrets, Wish(**wanted), folder, render=Pages())
    out = io.StringIO()
    assert standalone.main([str(folder)], out) == 0, out.getvalue()
    return out.getvalue()


def lines(folder: Path, path: str = CERTIFICATES) -> Lines:
    return [json.loads(line) for line in (folder / path).read_bytes().splitlines()]


def edit(change: Callable[[Lines], object], path: str = CERTIFICATES) -> Callable[[Forger], str]:
    return lambda forger: forger.edit(path, change)


def says(line: int, **members: Any) -> Callable[[Lines], object]:
    def run(lines: Lines) -> object:
        lines[line].update(members)
        return f"disposition {lines[line]['disposition']}"

    return run


def gone_part(lines: Lines) -> int:
    return next(n for n, line in enumerate(lines) if not line["whole"] and not line["events"])


def no_longer_recorded(forger: Forger) -> None:
    """Whoever writes a false certificate leaves out the record of it, which is proven."""
    ids = [line["id"] for line in forger.lines("events/00001.jsonl") if "disposition.certificate" in line.get("rest", "")]
    assert ids
    forger.edit("events/00001.jsonl", lambda lines: lines.__setitem__(slice(None), [line for line in lines if line["id"] not in ids]))
    about = "auditlog-disposition/1"
    forger.edit("contents/00001.jsonl", lambda lines: lines.__setitem__(slice(None), [x for x in lines if about not in x.get("text", "")]))
    kept = {(line["batch"], line["bucket"]) for line in forger.lines("events/00001.jsonl")}

    def left(line: Any) -> bool:
        words = dict(row.split(" ", 1) for row in line["entry"].splitlines()[1:])
        return (int(words["batch"]), int(words["bucket"])) in kept or not line["whole"]

    forger.edit(PARTS, lambda lines: lines.__setitem__(slice(None), [line for line in lines if left(line)]))


def emptied(forger: Forger) -> str:
    """The last part without its events."""
    last = forger.lines(PARTS)[-1]
    batch = int(last["entry"].splitlines()[1].removeprefix("batch "))
    forger.edit(PARTS, lambda lines: lines[-1].update(whole=False, events={}, withheld=[]))
    forger.edit("events/00001.jsonl", lambda lines: lines.__setitem__(slice(None), [line for line in lines if line["batch"] != batch]))
    return "bucket "


def added(lines: Lines, line: Any) -> str:
    lines.append(line)
    return f"{CERTIFICATES}:3"


def cleared(lines: Lines) -> str:
    lines.clear()
    return "it records"


# Whether the record of the certificate is left out, too; code; what the forger does.
LIES: dict[str, tuple[bool, str, Callable[[Forger], str]]] = {
    "nothing": (True, "", lambda forger: ""),
    "fewer are said to be gone": (True, "count_differs", edit(says(0, disposed=1))),
    "more are said to be gone": (True, "count_differs", edit(says(1, disposed=4_000))),
    "there were more events in the period": (True, "count_differs", edit(says(1, events=4_000))),
    "a certificate for another period": (True, "certificate_missing", edit(lambda lines: (lines[1].update(bucket=7), "bucket ")[1])),
    "a certificate for nothing": (True, "certificate_stray", edit(says(1, bucket=7))),
    "a certificate for other batches": (True, "certificate_differs", edit(says(0, batches=[2**40, 2**40]))),
    "a certificate for other leaves": (True, "certificate_differs", edit(says(1, leaves=[900, 901]))),
    "a certificate removed": (True, "certificate_missing", edit(lambda lines: f"bucket {lines.pop(0)['bucket']}")),
    "a certificate twice": (True, "certificate_stray", edit(lambda lines: added(lines, lines[0]))),
    "a certificate without numbers": (True, "unreadable", edit(lambda lines: lines[0].update(batches=["a", None]) or f"{CERTIFICATES}:1")),
    "what is gone is not mentioned": (True, "certificate_stray", edit(lambda lines: lines.pop(gone_part(lines)) and "", PARTS)),
    "another approver than the record has": (
        False,
        "certificate_differs",
        edit(lambda lines: lines[0].update(approved=1) or f"{CERTIFICATES}:1"),
    ),
    "a removed certificate of which there is a record": (False, "certificate_missing", edit(cleared)),
    "a part emptied, as if it had been disposed of": (True, "certificate_missing", emptied),
    "an absence is said to be withheld": (
        True,
        "withheld_differs",
        edit(lambda lines: lines[gone_part(lines)]["withheld"].append("0" * 64) or "withheld.jsonl does not say so", PARTS),
    ),
}


def test_every_absence_has_its_certificate_and_a_lie_about_it_is_named(case: Case, tmp_path: Path) -> None:
    stand(case, tmp_path)
    said = exported(case, tmp_path / "all")
    first, second = lines(tmp_path / "all")
    assert (first["events"], first["disposed"], second["disposed"]) == (6, 3, 3) and "by_project" not in first
    assert "2 certificates of dispositions against what is not there; 2 stand in records of this export" in said
    gone = [line for line in lines(tmp_path / "all", PARTS) if not line["whole"]]
    assert [len(line["events"]) for line in gone] == [3, 0], "the part that went whole is there with its path, and without an event"
    for number, (what, (unrecorded, codes, change)) in enumerate(LIES.items()):
        forger = Forger(Path(shutil.copytree(tmp_path / "all", tmp_path / str(number))))
        if unrecorded:
            no_longer_recorded(forger)
        named = change(forger)
        forger.mend()
        try:
            judge(forger, codes, named)
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}") from error


def test_a_range_and_a_session_have_the_certificates_that_concern_them(case: Case, tmp_path: Path) -> None:
    stand(case, tmp_path)
    first, second = [number for (number,) in case.rows("SELECT id FROM disposition ORDER BY id")]
    old = NOW - timedelta(days=6)
    exported(case, tmp_path / "range", since=old, until=old + timedelta(hours=1))
    assert [one["disposition"] for one in lines(tmp_path / "range")] == [second]
    said = exported(case, tmp_path / "today", since=NOW - timedelta(hours=1))
    assert not (tmp_path / "today" / CERTIFICATES).exists() and "certificates of" not in said
    events = case.events("s-held")
    exported(case, tmp_path / "session", sessions=["none"], trace_keys=[events[0].trace_key])
    assert not (tmp_path / "session" / CERTIFICATES).exists(), "nothing of this session is gone"
    assert first < second
    withheld = [Withheld(public_id(one.trace_key, one.event_id), None, "a third party", "") for one in events]
    said = exported(case, tmp_path / "less", withheld=withheld)
    assert "a third party" in said and {id for line in lines(tmp_path / "less", PARTS) for id in line.get("withheld", ())} == {
        one.id for one in withheld
    }


def test_an_export_during_which_something_of_it_is_disposed_of_ends_with_that(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.talk("s-1")
    case.derive()
    seal(case, tmp_path / "log.key")
    real = exporting._papers

    def meanwhile(*given: Any) -> None:
        case.dispose()
        real(*given)

    monkeypatch.setattr(exporting, "_papers", meanwhile)
    wish = Wish(case.id, "Case", "a court", "x")
    with pytest.raises(Problem, match="was disposed of after it began"):
        export(case.conn, case.secrets, wish, tmp_path / "all")
    monkeypatch.undo()
    with pytest.raises(Problem, match="another folder"):
        export(case.conn, case.secrets, wish, tmp_path / "all")
    assert not (tmp_path / "all" / "manifest.json").exists()


def test_what_is_restricted_is_left_out_of_an_export_with_the_number_of_its_request(case: Case, tmp_path: Path) -> None:
    case.talk("s-1", days_ago=0)
    case.talk("s-2", days_ago=0)
    case.derive()
    ids = [one.id for one in case.events("s-1")]
    number = restrict(case, session_id="s-1")
    seal(case, tmp_path / "log.key")
    left_out = Withheld(ids[0], fields.INPUT, "third party", "none")
    exported(case, tmp_path / "out", withheld=[left_out])
    said = lines(tmp_path / "out", "withheld.jsonl")
    by_request = [line for line in said if line["basis"] == f"request {number}"]
    assert {line["id"] for line in by_request} == set(ids) and {line["reason"] for line in by_request} == {"restricted on request"}
    assert [line["id"] for line in said if line["reason"] == "third party"] == [ids[0]]
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    everything = b"".join(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for path in files)
    assert f"{MARKER} s-2".encode() in everything and f"{MARKER} s-1".encode() not in everything


def page_of(folder: Path, words: str) -> str:
    """The only page of a session that says this."""
    (found,) = [text for text in (path.read_text() for path in (folder / "sessions").iterdir()) if words in text]
    return found


def test_a_session_page_cites_the_request_and_the_file_of_its_certificate(case: Case, tmp_path: Path) -> None:
    for session in ("s-redacted", "s-hidden", "s-whole"):
        case.talk(session, days_ago=0)
    case.derive()
    gone, hidden = decided(case, "redact", fields.INPUT, session_id="s-redacted"), restrict(case, session_id="s-hidden")
    imported = {"erasure": gone, "decided": {"at": "2020-02-02T00:00:00+00:00"}}
    case.send([governance.event(ANA, "erasure.certificate", imported, NOW)], days_ago=0)  # another service's, with the same number
    carry_out(case, gone)
    seal(case, tmp_path / "log.key")
    exported(case, tmp_path / "all", formats=["html"])
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    page = page_of(tmp_path / "all", f"Erased on request {gone} for input, decided on {today}.")
    assert f"erased on request: certificate {gone} of {today}." in page, "in its list of gaps, as the API says it"
    assert '<a href="../certificates/erasures.jsonl">certificates/erasures.jsonl</a>' in page
    chunk = '<a href="../events/00001.jsonl">events/00001.jsonl</a>'
    (record,) = re.findall(f'record <span class="data">([0-9a-f]{{64}})</span> in {chunk}', page)
    (line,) = [line for line in lines(tmp_path / "all", "events/00001.jsonl") if line["id"] == record]
    said = json.loads(line["rest"])
    assert (said["action"], said["about"]["erasure"], said["about"]["outcome"]) == ("erasure.certificate", gone, "redact")
    said_gone = {(one["field"], one["reason"]) for one in lines(tmp_path / "all", "certificates/erasures.jsonl")}
    assert said_gone == {(fields.INPUT, f"erased from the store before this export, on request {gone}")}
    page = page_of(tmp_path / "all", f"Restricted on request {hidden}, decided on {today}, to be looked at again on ")
    assert f"restricted on request: certificate {hidden} until " in page and "certificates/erasures" not in page
    assert '<a href="../withheld.jsonl">withheld.jsonl</a>' in page and chunk in page
    assert not re.search("on request [0-9]", page_of(tmp_path / "all", "<bdi>s-whole</bdi></h1>"))
    for link in {link for path in (tmp_path / "all/sessions").iterdir() for link in re.findall('href="([^"]+)"', path.read_text())}:
        assert (tmp_path / "all/sessions" / link).is_file() or link == "../index.html", link


def test_an_erased_field_names_the_request_that_was_to_take_it_and_not_the_one_for_another_field(case: Case, tmp_path: Path) -> None:
    case.talk("s-1", days_ago=0)
    case.derive()
    first = decided(case, "redact", fields.INPUT, session_id="s-1")
    carry_out(case, first)
    case.derive()
    second = decided(case, "redact", fields.OUTPUT, session_id="s-1")
    carry_out(case, second)
    seal(case, tmp_path / "log.key")
    exported(case, tmp_path / "all")
    said = {(one["field"], one["reason"].partition(", on ")[2]) for one in lines(tmp_path / "all", "certificates/erasures.jsonl")}
    assert said == {(fields.INPUT, f"request {first}"), (fields.OUTPUT, f"request {second}")}


def test_a_page_cites_what_concerns_its_own_records_and_no_file_that_is_not_there(case: Case, tmp_path: Path) -> None:
    case.talk("s-1")
    old = case.events("s-1")[0]
    assert isinstance(old.item, Span)
    case.send([msgspec.structs.replace(old.item, span_id=b"another!")], days_ago=0)
    case.derive()
    new = max(case.events("s-1"), key=lambda one: one.received_at)
    number = decided(case, "erase", events=[old.id])
    carry_out(case, number)
    case.derive()
    seal(case, tmp_path / "log.key")
    (key,) = case.rows("SELECT key FROM session WHERE project_id = %s", case.id)[0]
    exported(case, tmp_path / "one", formats=["html"], sessions=[key], trace_keys=[new.trace_key])
    page = page_of(tmp_path / "one", f"Erased on request {number}, decided on ")
    assert "Its certificate is not in this export." in page and "../events/" not in page and "../certificates/erasures.jsonl" in page
    exported(case, tmp_path / "later", formats=["html"], since=new.received_at - timedelta(hours=1))
    assert not re.search("on request", page_of(tmp_path / "later", new.id)), "what was received in this time has all its values"


def test_the_page_of_a_session_that_cannot_be_read_tells_nothing_of_the_one_before(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for session in ("s-1", "s-2"):
        case.talk(session, days_ago=0)
    case.derive()
    for session in ("s-1", "s-2"):
        carry_out(case, decided(case, "redact", fields.INPUT, session_id=session))
    seal(case, tmp_path / "log.key")
    pages: list[Page] = []
    read = Reader.rows_of_traces

    def second_fails(self: Reader, *asked: Any) -> list[Row]:
        if len(pages) == 1:
            raise ValueError("broken")
        return read(self, *asked)

    class Kept(Pages):
        def session(self, page: Page) -> bytes:
            pages.append(page)
            return super().session(page)

    monkeypatch.setattr(Reader, "rows_of_traces", second_fails)
    export(case.conn, case.secrets, Wish(case.id, "Case", "a court", "a test", formats=["html"]), tmp_path / "all", render=Kept())
    (first, second) = pages
    assert first.cited and first.records and first.error == ""
    assert (list(second.cited), second.records, second.error) == ([], [], "ValueError")
    assert "Its timeline could not be made (ValueError)" in (tmp_path / "all" / "sessions" / f"{second.key}.html").read_text()
