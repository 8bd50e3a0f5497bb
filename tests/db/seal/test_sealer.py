"""Owns that every committed part becomes one leaf, in order, under signed roots, wherever the sealer is killed, and with two of them."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from auditlog.proof import checkpoint, leaf, merkle, note, tree
from auditlog.seal import sealer, signed
from auditlog.seal.log import Log, Memory
from auditlog.seal.sealer import NotAlone, Sealer
from auditlog.store.connect import connect
from tests.db.derived import Bench
from tests.db.seal.conftest import Seals, mth

pytestmark = pytest.mark.django_db  # only so that pytest-django makes the database; these tests commit over connections of their own


def in_order(seals: Seals) -> list[tuple[int, int]]:
    """Batch and bucket of every part, as they are to be sealed."""
    rows = seals.bench.rows("SELECT b.batch_no, p.bucket FROM batch b JOIN part p USING (batch_no) ORDER BY b.xid, b.batch_no, p.bucket")
    return [(row[0], row[1]) for row in rows]


def holds(seals: Seals) -> None:
    """Every part once, in order; every checkpoint signed, over the root of the leaves that it covers."""
    entries = seals.entries()
    assert [(one.batch, one.bucket) for one in map(leaf.read, entries)] == in_order(seals)
    for size, root, text in seals.checkpoints():
        assert root == mth(entries[:size])
        opened = note.open_note(text, seals.keys())
        found = checkpoint.read(opened.text)
        assert (found.origin, found.size, found.root) == (seals.keys()[0].name, size, root)
    assert not entries or seals.checkpoints()[-1][0] == len(entries)


def test_every_part_becomes_a_leaf_that_says_what_it_is(seals: Seals) -> None:
    seals.send(3)
    assert seals.start().drain() == 3
    holds(seals)
    (row,) = seals.bench.rows(
        "SELECT project_id, received_at, acknowledged, duplicates, receipt_root, count, root, bucket, class_version "
        "FROM batch JOIN part USING (batch_no) ORDER BY batch_no LIMIT 1"
    )
    first = leaf.read(seals.entries()[0])
    assert first[2:4] + first[6:8] + (first.receipt, first.events, first.root, first.bucket, first.class_version) == (
        *row[:4], bytes(row[4]), row[5], bytes(row[6]), *row[7:],
    )  # fmt: skip
    assert [size for size, _, _ in seals.checkpoints()] == [3]


def test_a_round_in_which_nothing_came_signs_nothing(seals: Seals) -> None:
    work = seals.start()
    assert work.round() == 0 and seals.checkpoints() == [] and not seals.key_file.exists()
    seals.send()
    assert (work.round(), work.round()) == (1, 0)
    assert [size for size, _, _ in seals.checkpoints()] == [1]


def test_rounds_of_any_size_make_the_tiles_and_the_root_of_their_leaves(seals: Seals, monkeypatch: pytest.MonkeyPatch) -> None:
    work = seals.start()
    for most, count in ((7, 30), (300, 230), (1, 3), (100, 300)):
        monkeypatch.setattr(sealer, "MOST", most)
        seals.plant(count)
        assert work.drain() == count
    entries = seals.entries()
    assert [size for size, _, _ in seals.checkpoints()][:6] == [7, 14, 21, 28, 30, 260]
    assert seals.checkpoints()[-1][:2] == (563, mth(entries))
    tiles = [tuple(row) for row in seals.bench.rows("SELECT level, tile_no, hashes FROM tile ORDER BY 1, 2")]
    hashes = [merkle.leaf_hash(entry) for entry in entries]
    assert tiles == [(0, n, b"".join(hashes[n * 256 : n * 256 + 256])) for n in range(2)]
    seals.send(5)
    assert seals.start().drain() == 5  # from what is stored
    assert seals.checkpoints()[-1][:2] == (568, mth(seals.entries()))


def test_of_a_batch_with_several_parts_each_is_a_leaf(seals: Seals) -> None:
    seals.send(2)
    seals.bench.owner.execute("INSERT INTO part (batch_no, bucket, count, root) SELECT batch_no, bucket - 1, 0, root FROM part")
    work = seals.start()
    assert work.round() == 4
    holds(seals)


@pytest.mark.parametrize("sent_meanwhile", [0, 3])
def test_wherever_the_sealer_is_killed_the_next_one_comes_to_the_same_log(
    seals: Seals, monkeypatch: pytest.MonkeyPatch, sent_meanwhile: int
) -> None:
    """Cut before each statement of a round, the last of which is after COMMIT. More parts come while nobody seals."""
    seals.plant(300)
    seals.start().drain()
    lives = killed = 0
    while True:
        seals.plant(2)
        work = seals.start()
        assert seals.conn is not None
        seals.conn.lives = lives
        try:
            work.round()
        except psycopg.OperationalError:
            killed += 1
        else:
            break
        seals.plant(sent_meanwhile)
        seals.start().drain()
        holds_so_far = seals.checkpoints()
        assert holds_so_far[-1][1] == mth(seals.entries())
        lives += 1
    assert killed >= 10
    holds(seals)


@pytest.mark.parametrize("sent_meanwhile", [0, 3])
@pytest.mark.parametrize("when", ["before the file", "after the file"])
def test_killed_around_the_file_that_says_what_was_signed_the_round_is_made_again(
    seals: Seals, monkeypatch: pytest.MonkeyPatch, when: str, sent_meanwhile: int
) -> None:
    seals.send(4)
    seals.start().drain()
    seals.send(3)
    write = signed.write

    def killed(*args: Any) -> None:
        if when == "after the file":
            write(*args)
        raise psycopg.OperationalError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(signed, "write", killed)
        with pytest.raises(psycopg.OperationalError):
            seals.start().round()
    assert len(seals.entries()) == 4
    last = signed.read(signed.path(seals.key_file))
    assert last is not None and last.size == (7 if when == "after the file" else 4)
    seals.send(sent_meanwhile)
    seals.start().drain()
    holds(seals)
    if when == "after the file":
        assert (last.size, last.root) in [(size, root) for size, root, _ in seals.checkpoints()]


def test_killed_after_the_commit_nothing_is_sealed_again(seals: Seals) -> None:
    seals.send(4)
    assert seals.start().round() == 4
    before = seals.checkpoints()
    assert seals.start().round() == 0
    assert seals.checkpoints() == before
    holds(seals)


def test_a_second_sealer_waits_and_takes_over_when_the_first_has_gone(seals: Seals) -> None:
    seals.send(2)
    first = seals.start()
    with connect("sealer", autocommit=True) as conn:
        with pytest.raises(NotAlone):
            Sealer(conn, seals.key_file)
        first.release()
        assert Sealer(conn, seals.key_file).drain() == 2
        conn.execute("SELECT pg_advisory_unlock_all()")
    holds(seals)


def test_two_sealers_at_once_without_the_lock_seal_nothing_twice(seals: Seals, monkeypatch: pytest.MonkeyPatch) -> None:
    seals.send(3)
    first = seals.start()
    first.release()  # it does not know
    written, go = threading.Event(), threading.Event()
    write = signed.write

    def held(*args: Any) -> None:
        write(*args)
        written.set()
        assert go.wait(10)

    monkeypatch.setattr(signed, "write", held)
    thread = threading.Thread(target=first.round)
    thread.start()
    assert written.wait(10)
    with connect("sealer", autocommit=True) as conn:
        second = Sealer(conn, seals.key_file)
        threading.Timer(0.1, go.set).start()
        with pytest.raises(psycopg.errors.UniqueViolation):
            second.round()  # waits for the first one's row, and finds it
        thread.join()
        assert second.round() == 0
        second.release()
    holds(seals)


def test_a_transaction_that_is_open_is_waited_for_and_nothing_is_missed(seals: Seals, bench: Bench) -> None:
    seals.send(2)
    work = seals.start()
    work.drain()
    with connect("ingest") as late:
        late.execute(
            "INSERT INTO batch (batch_no, project_id, protocol, received_at, system_id, acknowledged, duplicates, receipt_root) "
            "SELECT nextval('batch_no_seq'), 1, 1, now() - interval '1 minute', system_id, 0, 0, %s FROM batch LIMIT 1",
            (merkle.EMPTY_ROOT,),
        )
        late.execute("INSERT INTO part (batch_no, bucket, count, root) SELECT currval('batch_no_seq'), 1, 0, %s", (merkle.EMPTY_ROOT,))
        seals.send(3)  # with later numbers, committed first
        assert work.drain() == 0
        batches, seconds = work.held_back()
        assert batches == 3 and seconds > 0
        late.commit()
    assert work.drain() == 4
    assert work.held_back()[0] == 0
    holds(seals)
    assert leaf.read(seals.entries()[2]).bucket == 1


def test_batches_of_another_cluster_go_first(seals: Seals, bench: Bench) -> None:
    seals.send(5)
    numbers = [row[0] for row in bench.rows("SELECT batch_no FROM batch ORDER BY batch_no")]
    bench.owner.execute("UPDATE batch SET system_id = 7, xid = '999999999' WHERE batch_no = ANY(%s)", ([numbers[2], numbers[4]],))
    assert seals.start().drain() == 5
    assert [leaf.read(entry).batch for entry in seals.entries()] == [numbers[n] for n in (2, 4, 0, 1, 3)]


def test_what_was_looked_at_is_not_looked_at_again(seals: Seals, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that appeared behind the watermark is found by the next start alone: rounds do not read all batches."""
    seals.send(3)
    work = seals.start()
    work.drain()
    work.round()
    seals.bench.owner.execute("INSERT INTO part (batch_no, bucket, count, root) SELECT batch_no, 1, 0, root FROM part LIMIT 1")
    assert work.drain() == 0
    assert seals.start().drain() == 1


def test_a_path_leads_from_every_leaf_to_the_checkpoint(seals: Seals, web: psycopg.Connection[Any]) -> None:
    seals.plant(520)
    seals.start().drain()
    entries = seals.entries()
    memory = Memory()
    for index in (0, 1, 255, 256, 511, 512, 519):
        one = leaf.read(entries[index])
        found = Log(web, memory).sealed(one.batch, one.bucket)
        assert found is not None and (found.leaf_index, found.entry, found.head.size) == (index, entries[index], 520)
        assert merkle.included(entries[index], index, 520, found.path, mth(entries))
    assert Log(web).sealed(1, 1) is None
    seals.plant(30)
    seals.start().drain()
    longer = seals.entries()
    for index in (519, 520, 549, 0):  # of leaves that came behind those that are remembered, too
        one = leaf.read(longer[index])
        found = Log(web, memory).sealed(one.batch, one.bucket)
        assert found is not None and found.head.size == 550
        assert merkle.included(longer[index], index, 550, found.path, mth(longer))
    assert [len(hashes) for hashes in memory.newest.values()] == [550 - 512]
    steps = tree.consistency(300, 520, Log(web).nodes(520))
    assert tree.consistent(300, mth(entries[:300]), 520, mth(entries), steps)
