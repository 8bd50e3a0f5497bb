"""Owns that nothing is signed over a log that was changed, or that is older than what was signed; keys, and what others see of it."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from typing import Any, LiteralString

import psycopg
import pytest

from auditlog.proof import note
from auditlog.seal import keys, restored, signed, standing
from auditlog.seal.log import Contradiction, Log, Memory
from auditlog.seal.refusal import Flag, Refused, Why
from tests import sealing
from tests.db.seal.conftest import Seals, mth
from tests.emptying import empty

pytestmark = pytest.mark.django_db  # only so that pytest-django makes the database; these tests commit over connections of their own

CHANGES: dict[str, LiteralString] = {
    "an entry is rewritten": "UPDATE leaf SET entry = replace(encode(entry, 'escape'), 'count 0', 'count 1')::bytea WHERE leaf_index = 301",
    "the last leaf is removed": "DELETE FROM leaf WHERE leaf_index = 302",
    "a leaf before it is removed": "DELETE FROM leaf WHERE leaf_index = 300",
    "a tile is changed": "UPDATE tile SET hashes = set_byte(hashes, 4711, get_byte(hashes, 4711) # 1)",
    "a tile is removed": "DELETE FROM tile",
    "a root is changed": "UPDATE checkpoint SET root = sha256(root)",
    "the last checkpoint is removed": "DELETE FROM checkpoint WHERE size = 303",
}


def refused(seals: Seals) -> Why:
    with pytest.raises(Refused) as found:
        seals.start().round()
    return found.value.why


@pytest.mark.parametrize("change", CHANGES)
def test_over_a_log_that_was_changed_nothing_is_signed(seals: Seals, change: str) -> None:
    seals.plant(300)
    seals.start().drain()
    seals.plant(3)
    work = seals.start()
    work.drain()
    assert seals.bench.owner.execute(CHANGES[change]).rowcount == 1 + (change == "a root is changed")
    seals.plant(1)
    before = seals.checkpoints()
    if "tile" not in change:  # those are looked at now and then: at a start, and every minute
        with pytest.raises(Refused):
            work.round()
    assert refused(seals) is Why.ROOT_DIFFERS
    assert seals.checkpoints() == before


def back_to(seals: Seals, size: int) -> None:
    """The log as it was in a backup."""
    seals.bench.owner.execute("DELETE FROM leaf WHERE leaf_index >= %s", (size,))
    seals.bench.owner.execute("DELETE FROM checkpoint WHERE size > %s", (size,))


def forget_batches(seals: Seals, count: int) -> None:
    numbers = [row[0] for row in seals.bench.rows("SELECT batch_no FROM batch ORDER BY batch_no DESC")][:count]
    seals.bench.owner.execute("DELETE FROM part WHERE batch_no = ANY(%s)", (numbers,))
    seals.bench.owner.execute("DELETE FROM batch WHERE batch_no = ANY(%s)", (numbers,))


def restored_backup(seals: Seals) -> None:
    """Five leaves were signed and perhaps read by somebody; the database has three, and what came since is other batches."""
    for count in (3, 2):
        seals.plant(count)
        seals.start().drain()
    back_to(seals, 3)
    forget_batches(seals, 2)


@pytest.mark.parametrize("sent_since", [0, 1, 2, 9])
def test_a_restored_backup_is_not_signed_on(seals: Seals, sent_since: int) -> None:
    restored_backup(seals)
    seals.plant(sent_since)
    assert refused(seals) is Why.RESTORED
    assert [size for size, _, _ in seals.checkpoints()] == [3]


def test_a_database_that_is_new_is_not_signed_on_with_the_old_key(seals: Seals) -> None:
    seals.plant(2)
    seals.start().drain()
    empty(seals.bench.owner, *sealing.TABLES)
    forget_batches(seals, 2)
    assert refused(seals) is Why.RESTORED


def test_a_backup_from_long_ago_is_refused_without_reading_what_came_since(seals: Seals) -> None:
    restored_backup(seals)
    signed.write(signed.path(seals.key_file), signed.Signed(3_000, b"?" * 32))
    assert refused(seals) is Why.RESTORED


def test_where_only_the_log_is_older_it_is_made_again_word_for_word(seals: Seals) -> None:
    """A point in time between batches and their checkpoint: the same parts are there, so that the same is signed, and nobody is alarmed."""
    for count in (3, 2):
        seals.plant(count)
        seals.start().drain()
    before, entries = seals.checkpoints(), seals.entries()
    back_to(seals, 3)
    seals.plant(4)
    assert seals.start().round() == 2
    assert seals.checkpoints() == before and seals.entries() == entries
    assert seals.start().round() == 4


def test_a_history_that_is_longer_and_another_is_refused(seals: Seals) -> None:
    restored_backup(seals)
    seals.plant(9)
    file = signed.path(seals.key_file)
    kept = file.read_bytes()
    file.write_text(json.dumps({"size": 3, "root": seals.checkpoints()[-1][1].hex()}))
    assert seals.start().drain() == 9  # another machine, which had signed less, goes on
    file.write_bytes(kept)
    assert refused(seals) is Why.RESTORED


def test_the_operator_accepts_what_was_restored_and_the_file_keeps_that(seals: Seals) -> None:
    restored_backup(seals)
    seals.plant(1)
    file = signed.path(seals.key_file)
    with psycopg.connect(seals.bench.owner.info.dsn, password=seals.bench.owner.info.password) as conn:
        plan = restored.look(conn, seals.key_file)
    assert (plan.now.size, plan.before and plan.before.size) == (3, 5)
    restored.accept(seals.key_file, plan, "the disk was lost")
    assert seals.start().drain() == 1
    (entry,) = json.loads(file.read_text())["restores"]
    assert (entry["reason"], entry["size"], entry["accepted_size"]) == ("the disk was lost", 5, 3)
    seals.plant(1)
    seals.start().drain()
    assert json.loads(file.read_text())["restores"] == [entry]


def test_rows_that_contradict_are_not_accepted(seals: Seals) -> None:
    restored_backup(seals)
    seals.bench.owner.execute("DELETE FROM leaf WHERE leaf_index = 1")
    with pytest.raises(Refused) as found:
        restored.look(seals.bench.owner, seals.key_file)
    assert found.value.why is Why.ROOT_DIFFERS


def lose_signed(seals: Seals) -> None:
    signed.path(seals.key_file).unlink()


def break_signed(seals: Seals) -> None:
    signed.path(seals.key_file).write_text("[]")


def lose_key(seals: Seals) -> None:
    seals.key_file.unlink()


def open_key(seals: Seals) -> None:
    seals.key_file.chmod(0o644)


def spoil_key(seals: Seals) -> None:
    seals.key_file.write_text(seals.key_file.read_text()[:-9])


def other_key(seals: Seals) -> None:
    seals.key_file.write_text(note.Signer(seals.keys()[0].name, b"o" * 32).text() + "\n")


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lose_signed, Why.SIGNED_MISSING), (break_signed, Why.SIGNED_MISSING), (lose_key, Why.KEY_MISSING), (open_key, Why.KEY_MISSING),
        (spoil_key, Why.KEY_MISSING), (other_key, Why.KEY_OTHER),
    ],
)  # fmt: skip
def test_a_file_that_is_lost_or_another_is_not_made_anew(seals: Seals, harm: Callable[[Seals], None], why: Why) -> None:
    seals.plant(2)
    seals.start().drain()
    harm(seals)
    seals.plant(1)
    assert refused(seals) is why
    assert len(seals.keys()) == 1


def test_the_key_of_another_log_is_not_taken(seals: Seals) -> None:
    seals.key_file.write_text(note.Signer("auditlog/another", b"o" * 32).text() + "\n")
    seals.key_file.chmod(0o600)
    seals.plant(1)
    assert refused(seals) is Why.KEY_OTHER


def test_the_name_of_the_log_is_the_one_that_was_set_first_and_stays(seals: Seals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITLOG_LOG_ORIGIN", "example.org/trail")
    seals.plant(1)
    seals.start().drain()
    assert seals.keys()[0].name == "example.org/trail" and seals.checkpoints()[0][2].startswith("example.org/trail\n1\n")
    monkeypatch.delenv("AUDITLOG_LOG_ORIGIN")
    seals.plant(1)
    assert seals.start().drain() == 1
    monkeypatch.setenv("AUDITLOG_LOG_ORIGIN", "example.org/other")
    seals.plant(1)
    assert refused(seals) is Why.ORIGIN_CHANGED


def test_without_a_name_the_log_is_called_by_its_cluster_and_its_key_is_for_its_owner_alone(seals: Seals) -> None:
    seals.plant(1)
    seals.start().drain()
    ((system_id,),) = seals.bench.rows("SELECT system_identifier FROM pg_control_system()")
    assert seals.keys()[0].name == f"auditlog/{system_id:016x}"
    for file in (seals.key_file, signed.path(seals.key_file)):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("killed", [False, True])
def test_after_a_rotation_both_keys_sign_once_and_then_the_new_one(seals: Seals, monkeypatch: pytest.MonkeyPatch, killed: bool) -> None:
    seals.plant(1)
    seals.start().drain()
    old = seals.keys()[0]
    new = keys.ask_for_rotation(seals.key_file)
    with pytest.raises(FileExistsError):
        keys.ask_for_rotation(seals.key_file)
    seals.plant(2)
    work = seals.start()
    if killed:  # between COMMIT and the new key's place

        def die(*_: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(keys, "put_in_place", die)
            with pytest.raises(KeyboardInterrupt):
                work.round()
        assert keys.next_of(seals.key_file).exists()
    else:
        work.round()
    seals.plant(1)
    seals.start().drain()
    assert seals.keys() == [old, new]
    notes = {size: text for size, _, text in seals.checkpoints()}
    assert {size: note.open_note(text, [old, new]).signers for size, text in notes.items()} == {1: [old], 3: [old, new], 4: [new]}
    assert [row[0] for row in seals.bench.rows("SELECT from_size FROM log_key ORDER BY key_no")] == [0, 3]
    assert not keys.next_of(seals.key_file).exists()
    assert note.read_signer(seals.key_file.read_text().strip()).key == new


def test_what_waits_to_be_sealed_is_told_of_each_project_and_of_all(seals: Seals, web: psycopg.Connection[Any]) -> None:
    assert standing.unsealed(web.cursor()) == (0, 0)
    seals.plant(2)
    seals.send(1)
    mine = seals.bench.project.project_id
    assert [standing.unsealed(web.cursor(), project).batches for project in (None, 1, mine, 3)] == [3, 2, 1, 0]
    assert standing.unsealed(web.cursor()).lag > 0
    seals.start().drain()
    assert standing.unsealed(web.cursor()) == (0, 0)
    seals.send(1)
    assert [standing.unsealed(web.cursor(), project).batches for project in (None, 1, mine)] == [1, 0, 1]


def test_whether_a_sealer_is_there_and_refuses_is_seen_from_any_connection(seals: Seals, web: psycopg.Connection[Any]) -> None:
    assert standing.sealers(web.cursor()) == (False, None)
    seals.start()
    assert standing.sealers(web.cursor()) == (True, None)
    flag = Flag(seals.conn)
    assert flag.set(Why.RESTORED) and not flag.set(Why.RESTORED)
    assert standing.sealers(web.cursor()) == (True, Why.RESTORED)
    assert flag.set(Why.ROOT_DIFFERS)
    assert standing.sealers(web.cursor()) == (True, Why.ROOT_DIFFERS)
    assert flag.set(None)
    assert standing.sealers(web.cursor()) == (True, None)
    seals.leave()
    assert standing.sealers(web.cursor()) == (False, None)


def test_a_path_that_does_not_lead_to_the_signed_root_is_not_given_out(seals: Seals, web: psycopg.Connection[Any]) -> None:
    seals.plant(600)
    seals.start().drain()
    ((batch, bucket),) = seals.bench.rows("SELECT batch_no, bucket FROM leaf WHERE leaf_index = 300")
    for roots, newest in (({(0, 0): b"?" * 32}, {}), ({}, {2: [b"?" * 32] * 88})):
        stale = Memory()  # of a database that this one was restored over
        stale.roots, stale.newest = dict(roots), dict(newest)
        found = Log(web, stale).sealed(batch, bucket)
        assert found is not None and found.head.root == mth(seals.entries())
        assert stale.roots[0, 0] != b"?" * 32 and b"?" * 32 not in stale.newest[2]
    seals.bench.owner.execute("UPDATE tile SET hashes = set_byte(hashes, 0, get_byte(hashes, 0) # 1) WHERE tile_no = 0")
    with pytest.raises(Contradiction):
        Log(web).sealed(batch, bucket)


@pytest.mark.parametrize("table", ["leaf", "tile", "checkpoint", "log_key", "anchor"])
def test_nobody_may_change_or_remove_what_was_sealed(seals: Seals, table: str) -> None:
    for role in ("auditlog_web", "auditlog_sealer", "auditlog_ingest", "auditlog_derive"):
        for privilege in ("UPDATE", "DELETE", "TRUNCATE"):
            assert seals.bench.rows(f"SELECT has_table_privilege('{role}', '{table}', '{privilege}')") == [(False,)], (role, privilege)
    assert seals.bench.rows(f"SELECT has_table_privilege('auditlog_web', '{table}', 'INSERT')") == [(False,)]
