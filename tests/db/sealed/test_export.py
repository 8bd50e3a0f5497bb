"""Owns the checks of export folders: a verifier that has nothing of ours passes them, interruptions leave no trace, a scope is kept."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import sqlite3
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import cryptography
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auditlog.errors import Problem
from auditlog.export import files
from auditlog.export.choice import Withheld
from auditlog.export.paths import Paths
from auditlog.proof import merkle
from auditlog.store import fields
from auditlog.verify import standalone
from tests import sealing
from tests.db.sealed.conftest import Stood
from tests.emptying import empty

pytestmark = pytest.mark.django_db


def verify(folder: Path, *arguments: str) -> tuple[int, str]:
    out = io.StringIO()
    return standalone.main([str(folder), *arguments], out), out.getvalue()


def lines(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(folder.glob(kind)) for line in path.read_bytes().splitlines()]


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return found


def alone(folder: Path, beside: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The verifier of the folder in a Python that sees the standard library and what lies in `beside`."""
    script = str(folder / "verify.py")
    run = f"import runpy, sys; sys.path.append({str(beside)!r}); sys.argv[0] = {script!r}; runpy.run_path({script!r}, run_name='__main__')"
    return subprocess.run([sys.executable, "-I", "-S", "-c", run, str(folder), *arguments], capture_output=True, text=True, timeout=60)


@pytest.fixture
def only_cryptography(tmp_path: Path) -> Path:
    site = Path(cryptography.__file__).parents[1]
    for found in [Path(cryptography.__file__).parent, site / "cffi", *site.glob("_cffi_backend*.so")]:
        (tmp_path / found.name).symlink_to(found)
    return tmp_path


def test_a_verifier_that_has_nothing_but_cryptography_passes_an_export_of_captured_cases(folder: Path, only_cryptography: Path) -> None:
    found = alone(folder, only_cryptography)
    assert (found.returncode, found.stderr) == (0, ""), found.stdout
    counts = manifest(folder)["counts"]
    assert counts["events"] > 80 and counts["contents"] > 200 and counts["parts"] > 14
    assert f"{counts['events']:,} events" in found.stdout and "erased from the store" in found.stdout
    assert "The key comes from the export itself" in found.stdout


def test_without_cryptography_all_but_the_signature_is_checked_and_the_exit_status_says_so(folder: Path, tmp_path: Path) -> None:
    found = alone(folder, tmp_path)
    assert found.returncode == 2 and found.stderr == ""
    assert "SIGNATURE NOT CHECKED" in found.stdout and "NOT ALL OF IT WAS CHECKED" in found.stdout
    assert alone(folder, tmp_path, "--without-signature").returncode == 0


def test_every_kind_of_event_is_in_it_once_and_its_readable_copy_is_what_was_sent(stood: Stood, folder: Path) -> None:
    events = lines(folder, "events/*.jsonl")
    stored = {event.id: event for number in range(len(stood.written)) for event in stood.events(number)}
    assert {one["id"] for one in events} == stored.keys() and len(events) == len(stored)
    assert {one["item"] for one in events} == {1, 2, 3, 4, 5}
    for one in events:
        assert ("otlp" in one) == (one["item"] in (1, 2)) and ("rest" in one) == (one["item"] in (3, 4))
        if "rest" in one:
            item: Any = stored[one["id"]].item
            assert one["rest"].encode() == item.raw()
    (erased,) = [one for one in events if one["id"] == stood.erased]
    assert "withheld" in json.dumps(erased["otlp"])
    (gone,) = lines(folder, "certificates/erasures.jsonl")
    assert gone["field"] == fields.INPUT
    assert gone["reason"] == "erased from the store before this export", "it was deleted behind the service: no request is made up"


def test_contents_are_there_once_and_the_manifest_names_every_file(folder: Path) -> None:
    contents = [one["sha256"] for one in lines(folder, "contents/*.jsonl")]
    assert len(set(contents)) == len(contents)
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"manifest.json"}
    named = {one["path"]: one for one in manifest(folder)["files"]}
    assert named.keys() == there
    assert all(hashlib.sha256((folder / path).read_bytes()).hexdigest() == one["sha256"] for path, one in named.items())
    assert not folder.with_name(f"{folder.name}.progress").exists()


def test_an_export_has_the_same_bytes_however_many_events_are_in_memory_at_once(
    stood: Stood, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auditlog.export.folder.timestamp_now", lambda: "2026-11-26T00:00:00.000000Z")
    for name, count in (("many", 1_000), ("few", 7)):
        monkeypatch.setattr("auditlog.export.folder._AT_ONCE", count)
        stood.export(tmp_path / name)
    many, few = (
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "many", tmp_path / "few")
    )
    assert few == many and verify(tmp_path / "few")[0] == 0


OLDER_NOTES = "INSERT INTO wanted VALUES (x'00', x'00') ON CONFLICT (sha256) DO UPDATE SET place = min(place, excluded.place)"
OLDER_SORTS = "CREATE INDEX IF NOT EXISTS wanted_place ON wanted (place, sha256)"


class Killed(BaseException):
    """As a kill: nothing catches it."""


def test_an_export_that_was_interrupted_anywhere_ends_with_the_same_bytes(
    stood: Stood, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "CHUNK", 300_000)
    monkeypatch.setattr("auditlog.export.folder._AT_ONCE", 7)  # so that some chunks end within what is in memory, and some behind it
    monkeypatch.setattr("auditlog.export.folder.timestamp_now", lambda: "2026-11-26T00:00:00.000000Z")
    stood.export(tmp_path / "straight")
    runs = 0
    keep = files.Draft.keep
    broken: set[str] = set()

    def killed(self: files.Draft, path: str, records: int | None) -> None:
        """Each file's end once before it is complete, once after."""
        if (before := f"before {path}") not in broken:
            broken.add(before)
            raise Killed
        keep(self, path, records)
        if (after := f"after {path}") not in broken:
            broken.add(after)
            raise Killed

    monkeypatch.setattr(files.Draft, "keep", killed)
    while True:
        runs += 1
        try:
            stood.export(tmp_path / "broken")
        except Killed:
            continue
        except Problem:
            break  # killed after the manifest: it was finished
        else:
            break
    one, other = ({path.relative_to(at): path.read_bytes() for path in at.rglob("*") if path.is_file()}
                  for at in (tmp_path / "straight", tmp_path / "broken"))  # fmt: skip
    assert one == other
    assert sum(str(path).startswith("events/") for path in one) > 2 and runs > 2 * len(one) - 2
    assert verify(tmp_path / "broken")[0] == 0


@pytest.mark.parametrize("killed_at", ["events/00003.jsonl", "contents/00002.jsonl"])
def test_an_export_that_an_older_program_began_goes_on_with_the_places_that_it_knew(
    stood: Stood, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    monkeypatch.setattr(files, "CHUNK", 100_000)
    monkeypatch.setattr("auditlog.export.folder.timestamp_now", lambda: "2026-11-26T00:00:00.000000Z")
    stood.export(tmp_path / "straight")
    keep = files.Draft.keep

    def killed(self: files.Draft, path: str, records: int | None) -> None:
        if path == killed_at:
            raise Killed
        keep(self, path, records)

    with monkeypatch.context() as context, pytest.raises(Killed):
        context.setattr(files.Draft, "keep", killed)
        stood.export(tmp_path / "begun")
    with contextlib.closing(sqlite3.connect(tmp_path / "begun.progress", isolation_level=None)) as db:
        for older in (OLDER_NOTES, OLDER_SORTS):
            with pytest.raises(sqlite3.OperationalError, match="view"):
                db.execute(older)
        db.executescript("""
            DROP VIEW wanted;
            CREATE TABLE wanted (sha256 BLOB PRIMARY KEY, place BLOB) WITHOUT ROWID;
            INSERT INTO wanted SELECT sha256, min(place) FROM placed GROUP BY sha256;
            CREATE INDEX wanted_place ON wanted (place, sha256);
            DROP TABLE placed;
            DELETE FROM state WHERE name = 'placed once';""")
        assert db.execute("SELECT count(*) FROM wanted").fetchone()[0] > 100
    stood.export(tmp_path / "begun")
    one, other = ({path.relative_to(at): path.read_bytes() for path in at.rglob("*") if path.is_file()}
                  for at in (tmp_path / "straight", tmp_path / "begun"))  # fmt: skip
    assert one == other


def test_some_traces_are_exported_with_the_paths_of_their_events_and_what_they_refer_to(stood: Stood, tmp_path: Path) -> None:
    trace = stood.events(1)[0].trace_key
    mine = {event.id for number in range(len(stood.written)) for event in stood.events(number) if event.trace_key == trace}
    done = stood.export(tmp_path / "one", trace_keys=[trace], sessions=["key"])
    assert {one["id"] for one in lines(tmp_path / "one", "events/*.jsonl")} == mine and done.events == len(mine)
    code, said = verify(tmp_path / "one")
    assert code == 0, said
    assert done.contents < manifest(tmp_path / "one")["counts"]["contents"] + 1


def test_a_range_of_receipt_includes_its_beginning_and_not_its_end(stood: Stood, tmp_path: Path) -> None:
    at = stood.events(2)[0].received_at
    until = stood.events(3)[0].received_at
    stood.export(tmp_path / "range", since=at, until=until)
    assert {one["batch"] for one in lines(tmp_path / "range", "events/*.jsonl")} == {stood.written[2].batch_no}
    assert verify(tmp_path / "range")[0] == 0


def test_what_is_withheld_is_named_with_its_reason_and_the_rest_verifies(stood: Stood, tmp_path: Path) -> None:
    first, second = stood.events(4)[:2]
    withheld = [
        Withheld(first.id, None, "a third party", "Art. 15(4)"),
        Withheld(second.id, fields.RESOURCE, "trade secret", "order of 1 May"),
    ]
    stood.export(tmp_path / "less", withheld=withheld)
    events = {one["id"]: one for one in lines(tmp_path / "less", "events/*.jsonl")}
    assert first.id not in events and second.id in events
    code, said = verify(tmp_path / "less")
    assert code == 0 and "a third party" in said and "trade secret" in said and "x resource" in said
    assert manifest(tmp_path / "less")["counts"]["withheld"] == 2


def test_what_is_not_sealed_yet_is_left_out_and_counted(stood: Stood, tmp_path: Path) -> None:
    late = stood.send([conversation_event("late")])
    try:
        done = stood.export(tmp_path / "now")
        assert done.not_sealed == 1 and manifest(tmp_path / "now")["scope"]["not_sealed"] == 1
        assert late.batch_no not in {one["batch"] for one in lines(tmp_path / "now", "events/*.jsonl")}
    finally:
        stood.written.pop()
        for table in ("event", "part", "batch"):
            stood.owner.execute(f"DELETE FROM {table} WHERE batch_no = %s", (late.batch_no,))


def conversation_event(session: str) -> Any:
    from auditlog.ingest.rest import event

    return event(json.dumps({"kind": "prompt", "session_id": session, "at": "2026-03-01T10:00:00Z"}).encode())


def test_a_folder_that_holds_something_else_or_another_wish_is_refused(stood: Stood, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(Problem, match="finished export"):
        stood.export(folder)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(Problem, match="something else"):
        stood.export(tmp_path / "photos")


def test_a_key_or_checkpoint_from_elsewhere_is_compared(stood: Stood, folder: Path, tmp_path: Path) -> None:
    first, last = [row[0] for row in stood.owner.execute("SELECT note FROM checkpoint ORDER BY size").fetchall()]
    (tmp_path / "first").write_text(first)
    (tmp_path / "last").write_text(last)
    assert "are those of the checkpoint that was given" in verify(folder, "--checkpoint", str(tmp_path / "last"))[1]
    size, root = len(stood.sealer.leaves()), b"\1" * 32
    (tmp_path / "forged").write_text(sealing.note(size, root, [stood.sealer.key]))
    assert "checkpoint_differs" in verify(folder, "--checkpoint", str(tmp_path / "forged"))[1]
    assert verify(folder, "--key", sealing.vkey(stood.sealer.key))[0] == 0
    code, said = verify(folder, "--key", sealing.vkey(Ed25519PrivateKey.generate()))
    assert code == 1 and "key_untrusted" in said
    (old, _) = stood.owner.execute("SELECT public_key FROM log_key ORDER BY key_no").fetchall()
    data = b"\x01" + bytes(old[0])
    code, said = verify(folder, "--key", f"{sealing.ORIGIN}+{sealing.key_hash(sealing.ORIGIN, data).hex()}+{b64encode(data).decode()}")
    assert code == 0 and "follows from it" in said, "the old key vouches for the new one"


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 300, 513, 700])
def test_paths_over_tiles_are_those_of_the_definition(stood: Stood, size: int) -> None:
    leaves = [f"leaf {n}".encode() for n in range(size)]
    with stood.owner.transaction(force_rollback=True):
        empty(stood.owner, *sealing.TABLES)
        for number, leaf in enumerate(leaves):
            stood.owner.execute("INSERT INTO leaf VALUES (%s, %s, 1, %s, now())", (number, number, leaf))
        stood.sealer._tiles(leaves)
        log = Paths(stood.owner, size)
        assert log.root() == sealing.mth(leaves)
        for index in {0, 1 % size, size // 2, min(255, size - 1), min(256, size - 1), size - 1}:
            assert log.of(index) == sealing.path(index, leaves)
        with pytest.raises(LookupError):
            log.of(size)
    assert merkle.inclusions(leaves, [size - 1, 0]) == {index: sealing.path(index, leaves) for index in (0, size - 1)}
