"""Owns that a timestamp is checked as it is kept, and that an export holds it so that OpenSSL alone can check it."""

from __future__ import annotations

import re
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from auditlog.export.folder import VERIFIER
from auditlog.models import Verification
from auditlog.proof import timestamp, tree
from auditlog.verify.timestamps import Trusted
from tests import sealing
from tests.authority import make, reply
from tests.db.sealed.conftest import Stood
from tests.db.sealed.test_export import lines, manifest, verify
from tests.db.sealed.test_verification import verified

pytestmark = pytest.mark.django_db


@dataclass
class Stamped:
    """The store of this package with both of its checkpoints stamped by an authority."""

    stood: Stood
    folder: Path
    first: int
    last: int

    @property
    def trusted(self) -> Trusted:
        return {"here": timestamp.read_roots((self.folder / "root.pem").read_bytes())}

    def stamp(self, size: int, name: str = "here", folder: Path | None = None) -> None:
        (note,) = self.stood.owner.execute("SELECT note FROM checkpoint WHERE size = %s", (size,)).fetchone() or ("",)
        answer = reply(folder or self.folder, timestamp.query(note.encode()).data)
        at = timestamp.imprinted(answer, note.encode())
        self.stood.owner.execute("INSERT INTO anchor VALUES (%s, 'timestamp', %s, %s, %s)", (size, name, answer, at))


@pytest.fixture
def stamped(stood: Stood, tmp_path: Path) -> Iterator[Stamped]:
    first, last = (row[0] for row in stood.owner.execute("SELECT size FROM checkpoint ORDER BY size"))
    made = Stamped(stood, make(tmp_path / "authority"), first, last)
    made.stamp(first)
    made.stamp(last)
    yield made
    stood.owner.execute("TRUNCATE anchor")


def test_every_timestamp_is_checked_and_its_signature_where_its_authority_is_known(stamped: Stamped, tmp_path: Path) -> None:
    found = verified(stamped.stood, trusted=stamped.trusted)
    assert (found.faults, found.timestamps, found.signatures_unchecked) == ([], 2, 0)
    found = verified(stamped.stood)
    assert (found.faults, found.timestamps, found.signatures_unchecked) == ([], 2, 2)
    other = {"here": timestamp.read_roots((make(tmp_path / "other") / "root.pem").read_bytes())}
    assert ["signature_wrong" in fault.message for fault in verified(stamped.stood, trusted=other).faults] == [True, True]


CHANGES = {
    "moved to another checkpoint": "UPDATE anchor a SET proof = b.proof FROM anchor b WHERE a.size > b.size",
    "of another time than it says": "UPDATE anchor SET anchored_at = anchored_at - interval '1 day' WHERE size = {first}",
    "garbage": "UPDATE anchor SET proof = 'x' WHERE size = {first}",
    "refused": "UPDATE anchor SET proof = '\\x30053003020102' WHERE size = {last}",
    "a note signed once more, with the same root": "UPDATE checkpoint SET note = note || note WHERE size = {last}",
    "of a checkpoint that was removed": "DELETE FROM checkpoint WHERE size = {last}",
    "of a checkpoint that never was": "UPDATE anchor SET size = 10000 WHERE size = {last}",
    "a byte of what is signed": "UPDATE anchor SET proof = set_byte(proof, 150, 1 + get_byte(proof, 150) % 9) WHERE size = {last}",
    "a byte of the signature": "UPDATE anchor SET proof = set_byte(proof, length(proof) - 1, 1 + get_byte(proof, length(proof) - 1) % 9) "
    "WHERE size = {last}",
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_timestamp_that_a_superuser_changed_is_named(what: str, stamped: Stamped) -> None:
    statement = CHANGES[what].format(first=stamped.first, last=stamped.last)
    with stamped.stood.owner.transaction(force_rollback=True):
        stamped.stood.owner.execute("SET LOCAL session_replication_role = replica")  # foreign keys are no protection against a superuser
        assert stamped.stood.owner.execute(statement.encode()).rowcount == 1
        found = verified(stamped.stood, trusted=stamped.trusted)
        unsigned = verified(stamped.stood)
    said = [fault for fault in found.faults if fault.code == "timestamp_wrong"]
    assert len(said) == 1 and "by 'here'" in said[0].message, found.faults
    if what != "a byte of the signature":
        assert "timestamp_wrong" in {fault.code for fault in unsigned.faults} or what == "a byte of what is signed"


def test_the_command_says_what_it_checked_and_names_a_wrong_one(
    stamped: Stamped, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "AUDITLOG_TIMESTAMP_AUTHORITIES"
    call_command("verify")
    said = capsys.readouterr().out
    assert "2 timestamps" in said and f"Of 2 timestamps the signature was NOT checked: {name}" in said
    monkeypatch.setenv(name, f"here https://example.com {stamped.folder}/root.pem")
    call_command("verify")
    assert "NOT checked" not in capsys.readouterr().out
    stamped.stood.owner.execute("UPDATE anchor SET proof = 'x' WHERE size = %s", (stamped.first,))
    with pytest.raises(CommandError):
        call_command("verify")
    assert f"timestamp_wrong  log: the timestamp of {stamped.first} leaves by 'here'" in capsys.readouterr().out
    monkeypatch.setenv(name, "here")
    with pytest.raises(CommandError, match=name):
        call_command("verify")
    Verification.objects.all().delete()


def commands(folder: Path, root: Path) -> list[str]:
    """What the README says to run, as somebody runs it who stands beside the folder."""
    text = (folder / "README.txt").read_text()
    found = re.findall(r"^    (openssl ts -verify .*\n.*)$", text.replace("\\\n", "\n"), re.M)
    times = re.findall(r"\(-attime ([0-9]+)\)", text)
    assert len(found) == len(times)
    plain = [" ".join(one.split()).replace("FOLDER", str(folder)).replace("ROOT.pem", str(root)) for one in found]
    return plain + [f"{one} -attime {at}" for one, at in zip(plain, times, strict=True)]


def run(command: str) -> bool:
    done = subprocess.run(command.split(), capture_output=True, text=True, timeout=30)
    return done.returncode == 0 and "Verification: OK" in done.stdout + done.stderr


def test_an_export_holds_the_timestamp_of_its_checkpoint_and_openssl_verifies_it_as_the_readme_says(
    stamped: Stamped, tmp_path: Path
) -> None:
    folder, last = tmp_path / "all", stamped.last
    stamped.stood.export(folder)
    there = {path.name for path in (folder / "timestamps").iterdir()}
    assert there == {f"here-{last}.tsr", f"checkpoint-{last}.txt"}
    assert {f"timestamps/{name}" for name in there} <= {one["path"] for one in manifest(folder)["files"]}
    assert (folder / "timestamps" / f"checkpoint-{last}.txt").read_bytes() == (folder / "checkpoint.txt").read_bytes()
    assert verify(folder)[0] == 0 and "NOT checked here, README.txt says how" in verify(folder)[1]
    found = commands(folder, stamped.folder / "root.pem")
    assert len(found) == 2 and all(map(run, found))
    assert "of an earlier checkpoint" not in (folder / "README.txt").read_text()
    assert not run(found[0].replace(str(stamped.folder / "root.pem"), str(make(tmp_path / "other") / "root.pem")))
    (folder / "timestamps" / f"checkpoint-{last}.txt").write_text("another")
    assert not run(found[0]) and "file_changed" in verify(folder)[1]


def test_a_scope_that_ended_before_the_last_timestamp_is_exported_under_that_checkpoint(stamped: Stamped, tmp_path: Path) -> None:
    stood, first, last = stamped.stood, stamped.first, stamped.last
    stood.owner.execute("DELETE FROM anchor WHERE size = %s", (last,))
    event = stood.events(1)[0]
    stood.export(tmp_path / "old", trace_keys=[event.trace_key], sessions=["key"])
    assert manifest(tmp_path / "old")["checkpoint"]["size"] == first and verify(tmp_path / "old")[0] == 0
    assert all(map(run, commands(tmp_path / "old", stamped.folder / "root.pem")))
    new = next(one for number in range(len(stood.written)) if number >= first for one in stood.events(number))
    stood.export(tmp_path / "new", trace_keys=[new.trace_key], sessions=["key"])
    assert manifest(tmp_path / "new")["checkpoint"]["size"] == last and verify(tmp_path / "new")[0] == 0


def test_of_each_authority_the_first_that_covers_the_scope_and_the_newest_are_held(stamped: Stamped, tmp_path: Path) -> None:
    stood, first, last = stamped.stood, stamped.first, stamped.last
    stamped.stamp(first, "b.2", stamped.folder)
    stood.owner.execute("INSERT INTO anchor VALUES (%s, 'timestamp', '../../x', 'x', now()), (%s, 'copy', 'c', 'x', now())", (last, last))
    folder = tmp_path / "one"
    stood.export(folder, trace_keys=[stood.events(1)[0].trace_key], sessions=["key"])
    assert {path.name for path in (folder / "timestamps").iterdir()} == {
        f"here-{first}.tsr", f"here-{last}.tsr", f"b.2-{first}.tsr", f"checkpoint-{first}.txt", f"checkpoint-{last}.txt",
        f"consistency-{first}.txt",
    }  # fmt: skip
    assert verify(folder)[0] == 0 and lines(folder, "parts.jsonl")[-1]["index"] < first
    found = commands(folder, stamped.folder / "root.pem")
    assert len(found) == 6 and all(map(run, found)) and "of an earlier checkpoint" in (folder / "README.txt").read_text()
    head, _, note = (folder / "timestamps" / f"consistency-{first}.txt").read_text().partition("\n\n")
    old, *path = head.split("\n")
    leaves = stood.sealer.leaves()
    assert old == f"old {first}" and note == (folder / "checkpoint.txt").read_text() and len(leaves) == last
    assert tree.consistent(first, sealing.mth(leaves[:first]), last, sealing.mth(leaves), [b64decode(one) for one in path])


def test_an_export_that_was_interrupted_holds_what_was_chosen_when_it_began(
    stamped: Stamped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stood, folder = stamped.stood, tmp_path / "one"
    stood.owner.execute("DELETE FROM anchor WHERE size = %s", (stamped.first,))
    with monkeypatch.context() as killed:
        killed.setattr("auditlog.export.folder._papers", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            stood.export(folder)
    stamped.stamp(stamped.last, "later")
    stood.export(folder)
    there = {path.name for path in (folder / "timestamps").iterdir()}
    assert there == {f"here-{stamped.last}.tsr", f"checkpoint-{stamped.last}.txt"} and verify(folder)[0] == 0


def test_without_timestamps_there_is_nothing_of_them(folder: Path) -> None:
    assert not (folder / "timestamps").exists() and "OpenSSL" not in (folder / "README.txt").read_text()
    assert VERIFIER.read_bytes() == (folder / "verify.py").read_bytes()
