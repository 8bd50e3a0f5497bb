"""Owns the checks of what the read API says of the sealed log: proofs that hold for somebody who computes them again, and who may ask."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from django.test import Client

from auditlog.proof import checkpoint, leaf, merkle, note, tiles, tree
from auditlog.seal.log import Memory
from auditlog.seal.refusal import Flag, Why
from auditlog.seal.sealer import Sealer
from auditlog.search import sealed
from auditlog.store.connect import connect
from tests import corpus
from tests.db.api.conftest import REFUND, Api, World, person
from tests.db.api.test_access import recorded, said
from tests.db.derived import NOW
from tests.db.seal.conftest import Seals, mth, span


def up(hash_: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root that a path leads to, as RFC 9162 writes the check."""
    fn, sn = index, size - 1
    for step in path:
        assert sn
        if fn & 1 or fn == sn:
            hash_ = hashlib.sha256(b"\1" + step + hash_).digest()
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            hash_ = hashlib.sha256(b"\1" + hash_ + step).digest()
        fn, sn = fn >> 1, sn >> 1
    assert sn == 0
    return hash_


def verified(found: Any) -> int:
    """Recomputes a proof from the digest up to a signature, with nothing but what it says. Returns the size of the checkpoint."""
    digest, part, at = bytes.fromhex(found["digest"]), found["part"], found["leaf"]
    lines = dict(line.rpartition(" ")[::2] for line in at["entry"].splitlines())
    root = up(hashlib.sha256(b"\0" + digest).digest(), part["index"], part["count"], [bytes.fromhex(step) for step in part["path"]])
    assert (root.hex(), part["batch"], str(part["bucket"]), str(part["count"])) == tuple(
        lines[n] for n in ("root", "batch", "bucket", "count")
    )
    hash_ = hashlib.sha256(b"\0" + at["entry"].encode()).digest()
    assert hash_.hex() == at["hash"]
    signed = found["checkpoint"]
    whole = up(hash_, at["index"], signed["size"], [bytes.fromhex(step) for step in at["path"]])
    known = [note.Key(key["name"], base64.b64decode(key["public_key"])) for key in found["keys"]]
    said = checkpoint.read(note.open_note(signed["note"], known).text)
    assert (said.size, said.root, said.root.hex()) == (signed["size"], whole, signed["root"])
    return int(said.size)


def events(api: Api) -> list[dict[str, Any]]:
    return list(api.json("events")["results"])


def test_every_event_is_proven_from_its_digest_to_a_signature(refund: World) -> None:
    for _ in range(5):
        refund.bench.send([span() for _ in range(3)])
    refund.bench.derive()
    refund.seal()
    found = events(refund.api)
    assert len(found) > 20
    for event in found:
        answer = refund.api.json(f"events/{event['id']}/proof")
        assert verified(answer) >= 6
        assert (answer["id"], answer["digest"], answer["part"]["batch"]) == (event["id"], event["digest"], event["batch"])


def test_reading_a_proof_is_recorded(refund: World) -> None:
    event = events(refund.api)[0]["id"]
    refund.api.json(f"events/{event}/proof")
    assert said(refund)[-1] == "event.proof" and event in recorded(refund)[-1]["about"]["path"]


def test_what_is_stored_and_not_sealed_is_a_409_and_soon_is_sealed(world: World) -> None:
    world.load(REFUND)
    event = events(world.api)[0]["id"]
    answer = world.api.get(f"events/{event}/proof")
    assert (answer.status_code, answer.json()["error"]["code"], answer["Retry-After"]) == (409, "not_sealed_yet", "1")
    world.seal()
    assert verified(world.api.json(f"events/{event}/proof"))


def test_an_event_received_in_two_periods_is_proven_where_it_was_first(refund: World) -> None:
    event = events(refund.api)[0]
    refund.bench.owner.execute("UPDATE bucket SET state = 'open'")
    moved = refund.bench.rows("SELECT class_no FROM bucket LIMIT 1")[0][0] + 1
    later = refund.bench.project._replace(class_no=moved)
    refund.bench.writer.write(later, corpus.items(REFUND), key_id=None, protocol=1, received_at=NOW)
    refund.bench.derive()
    refund.seal()
    assert refund.bench.rows("SELECT count(DISTINCT bucket) FROM part")[0][0] == 2
    answer = refund.api.json(f"events/{event['id']}/proof")
    assert answer["part"]["batch"] == event["batch"]
    verified(answer)


def test_a_record_of_what_somebody_did_is_proven_like_any_other_event(refund: World) -> None:
    refund.api.json("sessions")
    refund.bench.derive()
    record = refund.api.json("access-log", action="sessions.read")["results"][0]
    refund.seal()
    verified(refund.api.json(f"events/{record['id']}/proof"))


@pytest.mark.parametrize("name", ["0" * 64, "x"])
def test_what_is_no_event_of_the_project_has_no_proof(refund: World, name: str) -> None:
    answer = refund.api.get(f"events/{name}/proof")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE event SET skeleton = skeleton || '\\x00' WHERE event_id = (SELECT min(event_id::text)::uuid FROM event)",
        "UPDATE checkpoint SET root = sha256(root)",
        "UPDATE leaf SET entry = entry || ' '",
    ],
)
def test_what_was_changed_behind_the_service_has_no_proof_and_says_so(refund: World, change: Any) -> None:
    (trace_key, event_id), *_ = refund.bench.rows("SELECT trace_key, event_id FROM event ORDER BY event_id::text")
    refund.bench.owner.execute(change)
    answer = refund.api.get(f"events/{trace_key.hex}{event_id.hex}/proof")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "log_contradicted")


CHANGES = [
    "UPDATE event SET skeleton = skeleton || '\\x00' WHERE event_id <> (SELECT min(event_id::text)::uuid FROM event)",
    "DELETE FROM event WHERE event_id = (SELECT max(event_id::text)::uuid FROM event)",
]


@pytest.mark.parametrize("change", CHANGES)
def test_an_event_is_proven_though_others_of_its_request_were_changed(refund: World, change: Any) -> None:
    (trace_key, event_id), *_ = refund.bench.rows("SELECT trace_key, event_id FROM event ORDER BY event_id::text")
    refund.bench.owner.execute(change)
    verified(refund.api.json(f"events/{trace_key.hex}{event_id.hex}/proof"))
    refund.bench.owner.execute("TRUNCATE part_leaves")  # nobody kept what they were
    answer = refund.api.get(f"events/{trace_key.hex}{event_id.hex}/proof")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "log_contradicted")


@pytest.mark.parametrize(
    "change",
    [
        "TRUNCATE part_leaves",  # the pass has not come by yet
        "UPDATE part_leaves SET digests = digests || sha256('')",
        "UPDATE part_leaves SET digests = set_byte(digests, 0, get_byte(digests, 0) # 1)",
        "UPDATE part_leaves SET digests = ''",
    ],
)
def test_what_is_kept_for_proofs_may_be_wrong_or_missing(refund: World, change: Any) -> None:
    found = [f"events/{event['id']}/proof" for event in events(refund.api)]
    as_kept = [refund.api.json(address) for address in found]
    refund.bench.owner.execute(change)
    assert [refund.api.json(address)["part"] for address in found] == [answer["part"] for answer in as_kept]


def test_a_tile_is_never_of_what_a_process_remembers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        world.bench.send([span()])
    world.seal()
    entries = [bytes(row[0]) for row in world.bench.rows("SELECT entry FROM leaf ORDER BY leaf_index")]
    stale = Memory()
    stale.newest = {0: [b"?" * 32] * 3}  # of a database that this one was restored over
    monkeypatch.setattr(sealed, "_memory", stale)
    answer = world.api.client.get("/log/v1/tile/0/000.p/3", headers=world.api.headers)
    assert answer.content == b"".join(merkle.leaf_hash(entry) for entry in entries)


def test_an_event_that_came_alone_is_proven_without_reading_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.bench.send([span()])
    world.bench.derive()
    world.seal()
    ((trace_key, event_id),) = world.bench.rows("SELECT trace_key, event_id FROM event")
    assert world.bench.rows("SELECT count(*) FROM part_leaves") == [(0,)]
    monkeypatch.setattr(sealed, "leaves_of_part", lambda *_: pytest.fail("its digest is the root"))
    verified(world.api.json(f"events/{trace_key.hex}{event_id.hex}/proof"))


def test_checkpoints_are_listed_newest_first_in_pages_with_their_anchors(world: World) -> None:
    for count in (1, 2, 3):
        for _ in range(count):
            world.bench.send([span()])
        world.seal()
    world.bench.owner.execute("INSERT INTO anchor VALUES (3, 'copy', 'elsewhere', '', now())")
    whole = world.api.json("checkpoints")
    assert [row["size"] for row in whole["results"]] == [6, 3, 1] and whole["next"] is None
    assert [[one["name"] for one in row["anchors"]] for row in whole["results"]] == [[], ["elsewhere"], []]
    assert all(checkpoint.read(note.parse(row["note"])[0])[1:3] == (row["size"], bytes.fromhex(row["root"])) for row in whole["results"])
    first = world.api.json("checkpoints", limit=2)
    following = json.loads(world.api.client.get(first["next"], headers=world.api.headers).content)
    assert first["results"] + following["results"] == whole["results"] and following["next"] is None


@pytest.mark.parametrize("cursor", ["AAAA", "WyIyMDI2LTAxLTAxVDAwOjAwOjAwKzAwOjAwIiwiYSJd"])
def test_a_cursor_that_is_none_is_refused(world: World, cursor: str) -> None:
    assert world.api.get("checkpoints", cursor=cursor).json()["error"]["code"] == "parameter_invalid"


def test_the_status_says_what_waits_and_whether_anybody_seals(world: World) -> None:
    world.load(REFUND)
    # Each key's first use of the day is a record too, in a batch of its own.
    assert Api(world.other_key).json("status")["unsealed_batches"] == 1
    status = world.api.json("status")
    assert (status["unsealed_batches"], status["sealer"], status["sealer_refuses"]) == (2, "away", None)
    assert status["seal_lag_seconds"] > 0
    with connect("sealer", autocommit=True) as conn:
        sealer = Sealer(conn, world.key_file)
        sealer.drain()
        status = world.api.json("status")
        assert (status["unsealed_batches"], status["seal_lag_seconds"], status["sealer"]) == (0, 0, "sealing")
        Flag(conn).set(Why.RESTORED)
        status = world.api.json("status")
        assert (status["sealer"], status["sealer_refuses"]) == ("refusing", "restored")
        sealer.release()


# -- the log as files


def files(path: str, key: str | None) -> Any:
    return Client().get(f"/log/v1/{path}", headers={"Authorization": f"Bearer {key}"} if key else {})


@pytest.fixture
def large(world: World) -> World:
    seals = Seals(world.bench, world.key_file.parent)
    seals.plant(300)
    world.seal()
    seals.plant(4)
    world.seal()
    return world


def test_a_tool_of_others_reads_the_whole_log_from_its_files(large: World) -> None:
    """What a witness does: checkpoint, tiles, entries, and every hash computed again."""
    answer = files("checkpoint", large.read_key)
    assert (answer["Content-Type"], answer["Cache-Control"]) == ("text/plain; charset=utf-8", "no-cache")
    text = answer.content.decode()
    newest = checkpoint.read(note.open_note(text, [one.key for one in sealed.signing_keys()]).text)
    assert newest.size == 304
    bundles = [files(tiles.path(tiles.ENTRIES, n, width), large.read_key) for n, width in ((0, 256), (1, 48))]
    entries = [entry for bundle in bundles for entry in tiles.unbundle(bundle.content)]
    assert mth(entries) == newest.root and len(entries) == 304
    assert all(leaf.read(entry) for entry in entries)
    hashes = [merkle.leaf_hash(entry) for entry in entries]
    whole = files("tile/0/000", large.read_key)
    assert (whole["Content-Type"], whole["Cache-Control"]) == ("application/octet-stream", "private, max-age=31536000, immutable")
    assert whole.content == b"".join(hashes[:256])
    assert files("tile/0/001.p/48", large.read_key).content == b"".join(hashes[256:])
    assert files("tile/0/001.p/44", large.read_key).content == b"".join(hashes[256:300])  # as of the checkpoint before
    assert files("tile/1/000.p/1", large.read_key).content == tree.perfect(hashes[:256])


@pytest.mark.parametrize(
    "path", ["tile/0/001", "tile/0/001.p/49", "tile/1/000", "tile/1/000.p/2", "tile/2/000.p/1", "tile/entries/002.p/1", "tile/0/1",
             "tile/63/000.p/1", "tile/0/" + "x999/" * 5 + "999", "tile/x", "tile/0/000.p/0", "tile/0/..%2F000"],
)  # fmt: skip
def test_what_the_log_does_not_have_is_not_found(large: World, path: str) -> None:
    answer = files(path, large.read_key)
    assert (answer.status_code, answer.json()["error"]["code"], answer["Cache-Control"]) == (404, "not_found", "no-store")


def test_before_anything_is_sealed_there_is_no_checkpoint(world: World) -> None:
    assert files("checkpoint", world.read_key).status_code == 404
    assert world.api.json("checkpoints") == {"results": [], "next": None}


def test_the_files_are_for_keys_that_read_and_for_members_and_for_everybody_only_where_it_is_said(
    large: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("checkpoint", "tile/0/000"):
        assert files(path, None).json()["error"]["code"] == "key_missing"
        assert files(path, large.ingest_key).json()["error"]["code"] == "scope_missing"
        assert files(path, "nonsense").json()["error"]["code"] == "key_unknown"
        assert files(path, large.other_key).status_code == 200
    viewer = person(large.project, "vera", "viewer")
    assert viewer.get("/log/v1/checkpoint").status_code == 200
    assert viewer.post("/log/v1/checkpoint").status_code == 405
    monkeypatch.setenv("AUDITLOG_LOG_PUBLIC", "1")
    assert files("checkpoint", None).status_code == 200
    assert files("tile/0/000", None)["Cache-Control"] == "public, max-age=31536000, immutable"
