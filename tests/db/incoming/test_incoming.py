"""Owns the checks that an export comes back as what it was: same IDs, same digests, provable here and there; whatever ends it, once."""

from __future__ import annotations

import dataclasses
import json
import secrets
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from auditlog.errors import Problem
from auditlog.export.incoming import PAPERS, Counts, Incoming, Told, due, own
from auditlog.governance import Actor
from auditlog.governance import event as governance_event
from auditlog.secrets import wrap
from auditlog.store.connect import connect
from auditlog.store.reader import Reader, Stored
from auditlog.store.writer import Project, Writer
from auditlog.verify.batches import Checker
from tests.db.sealed.conftest import Stood
from tests.db.sealed.test_export import lines, verify

pytestmark = pytest.mark.django_db  # only so that pytest-django makes the database
Moved = Stood


@pytest.fixture
def other(stood: Stood) -> Iterator[Moved]:
    """A project with another secret, as another installation has it; in a class of its own, so that no bucket holds an event twice."""
    project = Project(secrets.randbelow(2**30), secrets.token_bytes(32), 200 + secrets.randbelow(20_000), "month")
    stood.owner.execute(
        "INSERT INTO project (id, name, slug, secret_wrapped, class_no, period, created_at) VALUES (%s, %s, %s, %s, %s, 'month', now())",
        (project.project_id, f"Other {project.project_id}", f"other-{project.project_id}", wrap(project.secret), project.class_no),
    )
    writer = Writer(lambda: connect("ingest"))
    try:
        yield dataclasses.replace(stood, project=project, writer=writer, written=[])
    finally:
        writer.close()
        for table in ("part", "event"):
            stood.owner.execute(f"DELETE FROM {table} WHERE bucket >> 16 = %s", (project.class_no,))
        stood.owner.execute("DELETE FROM batch WHERE project_id = %s", (project.project_id,))
        stood.owner.execute("DELETE FROM project WHERE id = %s", (project.project_id,))


def bring(folder: Path, into: Moved) -> Counts:
    incoming = Incoming(folder)
    try:
        return incoming.store(into.writer, into.project)
    finally:
        incoming.close()


def batches(of: Stood) -> list[int]:
    return [row[0] for row in of.owner.execute("SELECT batch_no FROM batch WHERE project_id = %s ORDER BY 1", (of.project.project_id,))]


def everything(of: Stood) -> list[Stored]:
    return sorted(Reader(of.owner, of.secret).events_of_batches(batches(of)), key=lambda one: (one.id, one.received_at))


def told(of: Stood) -> list[Any]:
    return [(one.id, one.digest, one.received_at, one.occurred_at, one.item) for one in everything(of)]


def test_every_event_is_there_under_its_id_with_its_digest_and_reads_as_it_did(stood: Stood, folder: Path, other: Moved) -> None:
    counts = bring(folder, other)
    assert counts.there == 0 and counts.events == len(lines(folder, "events/00001.jsonl"))
    assert told(other) == told(stood)  # of the erased field neither says more
    checked = Checker(other.owner, other.secret).check(batches(other))
    assert checked.faults == [] and checked.events == counts.events and checked.withheld >= 1


def test_an_export_of_it_verifies_again_and_has_the_same_events(stood: Stood, folder: Path, other: Moved, tmp_path: Path) -> None:
    bring(folder, other)
    stood.sealer.seal()
    other.export(tmp_path / "again")
    assert verify(tmp_path / "again")[0] == 0
    kept = ("id", "item", "occurred_at", "received_at", "trace_id", "span_id", "skeleton", "vals", "otlp", "rest")
    one, two = (
        sorted(json.dumps([line.get(name) for name in kept]) for line in lines(at, "events/00001.jsonl"))
        for at in (folder, tmp_path / "again")
    )
    assert one == two
    assert sorted(line["sha256"] for line in lines(folder, "contents/00001.jsonl")) == sorted(
        line["sha256"] for line in lines(tmp_path / "again", "contents/00001.jsonl")
    )


def test_the_same_folder_again_changes_nothing(folder: Path, other: Moved) -> None:
    first, before = bring(folder, other), (batches(other), told(other))
    again = bring(folder, other)
    assert (again.events, again.there, again.batches) == (first.events, first.events, 0)
    assert (batches(other), told(other)) == before


class Killed(BaseException):
    """As a kill: nothing catches it."""


def test_an_import_that_was_killed_at_each_batch_ends_as_if_it_had_not_been(
    stood: Stood, folder: Path, other: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Writer.put
    done: set[int] = set()

    def killed(self: Writer, project: Project, packed: Any, **how: Any) -> Any:
        written = put(self, project, packed, **how)
        done.add(written.batch_no)
        raise Killed  # committed, and nobody was told

    monkeypatch.setattr(Writer, "put", killed)
    runs = 0
    while True:
        runs += 1
        try:
            bring(folder, other)
            break
        except Killed:
            continue
    assert runs == len(done) + 1 > 4 and told(other) == told(stood) and len(batches(other)) == len(done)


def test_a_folder_that_is_not_what_was_sealed_is_refused_and_nothing_is_stored(folder: Path, other: Moved, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "forged")
    path = tmp_path / "forged" / "events" / "00001.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"item":1', b'"item":2', 1))
    with pytest.raises(Problem, match=r"Nothing was stored: .*events/00001\.jsonl") as raised:
        bring(tmp_path / "forged", other)
    assert raised.value.code == "export_wrong" and batches(other) == []
    with pytest.raises((Problem, OSError)):
        bring(tmp_path, other)


def test_a_key_that_did_not_seal_it_is_refused(folder: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from tests.sealing import vkey

    with pytest.raises(Problem, match="key_untrusted"):
        Incoming(folder, [vkey(Ed25519PrivateKey.generate())])


def test_a_period_of_which_something_was_disposed_takes_nothing_more(folder: Path, other: Moved) -> None:
    bring(folder, other)
    other.owner.execute("DELETE FROM part WHERE bucket >> 16 = %s", (other.project.class_no,))
    other.owner.execute("DELETE FROM event WHERE bucket >> 16 = %s", (other.project.class_no,))
    other.owner.execute("UPDATE bucket SET state = 'closed' WHERE class_no = %s", (other.project.class_no,))
    with pytest.raises(Problem, match="is closed") as raised:
        bring(folder, other)
    assert raised.value.code == "state_conflict" and everything(other) == []


def test_papers_are_the_files_of_the_origin_in_pieces(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditlog.export.incoming._PAPER", 3_000)
    incoming = Incoming(folder)
    papers = list(incoming.papers())
    incoming.close()
    for name in PAPERS:
        pieces = [paper for paper in papers if paper.file == name]
        if (folder / name).exists():
            assert "".join(piece.text for piece in pieces) == (folder / name).read_text()
            assert [piece.piece for piece in pieces] == list(range(len(pieces)))
    assert sum(paper.file == "parts.jsonl" for paper in papers) > 1


def test_what_a_class_would_dispose_of_at_once_is_known_before() -> None:
    project = Project(1, bytes(32), 1, "month")
    received = datetime(2026, 1, 15, tzinfo=UTC)
    of = Told({}, "", 1, received, received, [])
    ends = datetime(2026, 2, 1, tzinfo=UTC)
    assert due(project, of, 30, ends + timedelta(days=30)) == ends
    assert due(project, of, 30, ends + timedelta(days=30, seconds=-1)) is None
    assert due(project, of._replace(first=None), 30, ends) is None


def test_an_export_of_this_very_installation_is_known_by_its_log(stood: Stood, folder: Path) -> None:
    incoming = Incoming(folder)
    names = incoming.keys()
    incoming.close()
    assert own(stood.owner, names) and not own(stood.owner, ["auditlog/another"])


def test_certificates_of_the_origin_are_none_of_this_installation(stood: Stood, other: Moved, tmp_path: Path) -> None:
    """Its dispositions have the numbers that dispositions here will have."""
    about = {"disposition": 1, "bucket": 7, "events": 3}
    other.send([governance_event(Actor("shell", "root", "root"), "disposition.certificate", about, datetime.now(UTC))])
    stood.sealer.seal()
    other.export(tmp_path / "alone")
    status, said = verify(tmp_path / "alone")
    assert status == 1 and "certificate_missing" in said
    (foreign,) = [one.id for one in everything(other)]
    record = governance_event(Actor("shell", "root", "root"), "import.origin", {"manifest": "0", "foreign": [foreign]}, datetime.now(UTC))
    other.send([record])
    stood.sealer.seal()
    other.export(tmp_path / "known")
    assert verify(tmp_path / "known")[0] == 0
    assert msgspec.json.decode((tmp_path / "known" / "manifest.json").read_bytes())["counts"]["events"] == 2
