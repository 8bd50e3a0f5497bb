"""Owns that checkpoints are copied once, never over one another, and that a copy that differs is seen."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from auditlog.proof import note
from auditlog.seal import keys
from auditlog.seal.copies import Copies, Differs, write_once
from tests.db.seal.conftest import Seals

pytestmark = pytest.mark.django_db  # only so that pytest-django makes the database; these tests commit over connections of their own


def anchors(seals: Seals) -> list[tuple[int, str]]:
    return [(row[0], row[1]) for row in seals.bench.rows("SELECT size, name FROM anchor WHERE kind = 'copy' ORDER BY size")]


def test_the_newest_checkpoint_is_copied_at_most_once_a_minute(seals: Seals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "copies"
    seals.plant(2)
    work = seals.start()
    assert seals.conn is not None
    mine = Copies(seals.conn, folder)
    assert not mine.turn()  # nothing is signed yet
    work.round()
    assert mine.turn() and not mine.turn()
    seals.plant(1)
    work.round()
    assert not mine.turn()
    monkeypatch.setattr(mine, "_next", 0.0)
    assert mine.turn()
    monkeypatch.setattr(mine, "_next", 0.0)
    assert not mine.turn()  # nothing new
    files = sorted(folder.glob("checkpoint-*"))
    assert [(size, file.name) for size, file in zip((2, 3), files, strict=True)] == anchors(seals)
    assert [file.read_text() for file in files] == [text for _, _, text in seals.checkpoints()]
    assert all(not stat.S_IMODE(file.stat().st_mode) & 0o222 for file in files)


def test_beside_the_copies_stand_all_keys_that_verify_them(seals: Seals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "copies"
    work = seals.start()
    assert seals.conn is not None
    mine = Copies(seals.conn, folder)
    for _ in range(2):
        seals.plant(1)
        work.round()
        monkeypatch.setattr(mine, "_next", 0.0)
        assert mine.turn()
        keys.ask_for_rotation(seals.key_file)
        seals.plant(1)
        work.round()
    monkeypatch.setattr(mine, "_next", 0.0)
    assert mine.turn()
    known = {note.read_key(file.read_text().removesuffix("\n")) for file in folder.glob("key-*.txt")}
    assert known == set(seals.keys()) and len(known) == 3
    for file in folder.glob("checkpoint-*"):
        assert note.open_note(file.read_text(), known).signers


def test_killed_between_file_and_row_the_row_is_written_by_the_next(seals: Seals, tmp_path: Path) -> None:
    seals.plant(2)
    seals.start().round()
    assert seals.conn is not None
    assert Copies(seals.conn, tmp_path / "copies").turn()
    seals.bench.owner.execute("TRUNCATE anchor")
    assert Copies(seals.conn, tmp_path / "copies").turn()
    assert len(anchors(seals)) == 1


def test_another_checkpoint_of_the_same_size_is_not_written_over(seals: Seals, tmp_path: Path) -> None:
    seals.plant(2)
    seals.start().round()
    assert seals.conn is not None
    (tmp_path / "copies").mkdir()
    there = tmp_path / "copies" / "checkpoint-00000000000000000002.txt"
    there.write_text("another")
    with pytest.raises(Differs):
        Copies(seals.conn, tmp_path / "copies").turn()
    assert there.read_text() == "another" and anchors(seals) == []


def test_a_copy_that_was_cut_by_a_kill_is_made_whole_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.txt"
    file.write_bytes(b"the begin")
    write_once(file, b"the beginning and the end")
    write_once(file, b"the beginning and the end")
    assert file.read_bytes() == b"the begin" and (tmp_path / "checkpoint.txt.whole").read_bytes() == b"the beginning and the end"
    with pytest.raises(Differs):
        write_once(file, b"another")
