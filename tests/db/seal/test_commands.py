"""Owns the checks of the operator's commands: seal once, accept a restored database, rotate the key; what each records and refuses."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from auditlog.proof import note
from auditlog.seal import keys, signed
from tests.db.api.conftest import World, db, owner, world
from tests.db.api.test_access import recorded

__all__ = ["db", "owner", "world"]


@pytest.fixture
def log_key(world: World, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUDITLOG_LOG_KEY", str(world.key_file))
    return world.key_file


def said(*command: str) -> str:
    out = StringIO()
    call_command(*command, stdout=out)
    return out.getvalue()


def about(world: World) -> dict[str, Any]:
    last = recorded(world)[-1]
    return {"action": last["action"], "kind": last["actor"]["kind"], **last["about"]}


def test_once_seals_what_there_is_and_ends(world: World, log_key: Path) -> None:
    world.bench.send([])
    assert said("seal", "--once") == "1 parts sealed.\n"
    assert said("seal", "--once") == "0 parts sealed.\n"
    signed.path(log_key).unlink()
    with pytest.raises(CommandError, match=r"log\.signed"):
        said("seal", "--once")


def test_a_restored_database_is_accepted_with_a_reason_that_is_recorded_first(world: World, log_key: Path) -> None:
    world.bench.send([])
    said("seal", "--once")
    signed.write(signed.path(log_key), signed.Signed(9, b"?" * 32))
    with pytest.raises(CommandError, match="older than the last checkpoint"):
        said("seal", "--once")
    with pytest.raises(CommandError, match="Say why"):
        said("seal", "--accept-restore", " ")
    assert said("seal", "--accept-restore", "the disk was lost") == "The log goes on from checkpoint 1.\n"
    assert about(world) == {"action": "log.restore", "kind": "shell", "reason": "the disk was lost", "size": 1, "signed_size": 9}
    assert json.loads(signed.path(log_key).read_text())["restores"][0]["reason"] == "the disk was lost"
    said("seal", "--once")


def test_a_rotation_is_recorded_and_takes_effect_by_its_own_record(world: World, log_key: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read"):
        said("rotate_log_key")
    world.bench.send([])
    said("seal", "--once")
    key = note.read_key(said("rotate_log_key").split()[-1])
    assert about(world) == {"action": "log.rotate", "kind": "shell", "key": key.text()}
    with pytest.raises(CommandError, match="under way"):
        said("rotate_log_key")
    said("seal", "--once")
    ((text,),) = world.bench.rows("SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1")
    assert [one.key_id for one in note.parse(text)[1]][-1] == key.id and len(note.parse(text)[1]) == 2
    assert not keys.next_of(log_key).exists()
