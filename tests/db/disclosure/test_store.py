"""Owns the checks of copies in object storage, against a server of S3 that is not ours: whole, gone on with, and taken away in the end."""

from __future__ import annotations

import hashlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
import obstore.store
import pytest

from auditlog import conf
from auditlog.disclosure import exports, store, work
from auditlog.disclosure.exports import Export
from auditlog.search import evidence
from tests.db.api.conftest import World
from tests.db.disclosure.conftest import CARLA, ask, now
from tests.db.disclosure.test_work import verified

FOLDER = Path(__file__).parents[2] / "javascript"
if shutil.which("node") is None or not (FOLDER / "node_modules" / "s3rver").is_dir():
    raise RuntimeError("The server of S3 needs Node.js and its package. Run: make tests/javascript/node_modules/.stamp")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Its port; it has one bucket, `evidence`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = ["node", "node_modules/s3rver/bin/s3rver.js", "-d", str(tmp_path_factory.mktemp("s3")), "-a", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen([*command, "--silent", "--configure-bucket", "evidence"], cwd=FOLDER)
    try:
        while True:
            assert process.poll() is None
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.fixture(autouse=True)
def told(server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that an operator sets."""
    for name, value in {
        "AUDITLOG_EXPORT_STORE": "s3://evidence/legal/exports/", "AWS_ENDPOINT": f"http://127.0.0.1:{server}", "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "S3RVER", "AWS_SECRET_ACCESS_KEY": "S3RVER", "AWS_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)


def copied(where: str = "s3://evidence") -> dict[str, bytes]:
    """All objects under an address."""
    found: Any = obstore.store.from_url(where)
    return {one["path"]: bytes(obstore.get(found, one["path"]).bytes()) for page in obstore.list(found) for one in page}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_finished_export_is_there_byte_for_byte_and_verifies(refund: World, tmp_path: Path) -> None:
    job = ask(refund, formats=["csv"])
    work.work(job.id)
    done = now(job)
    assert (done.state, done.copied_to) == ("done", f"s3://evidence/legal/exports/{job.id}"), done.error
    found = copied(done.copied_to)
    assert found == files(job.folder) and "manifest.json" in found and "csv/actions.csv" in found
    for path, data in found.items():
        (tmp_path / "there" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "there" / path).write_bytes(data)
    assert verified(tmp_path / "there")
    one: Any = obstore.get(obstore.store.from_url(done.copied_to), "parts.jsonl")
    assert one.attributes["sha256"] == hashlib.sha256(found["parts.jsonl"]).hexdigest()


def test_a_copy_that_was_interrupted_goes_on_where_it_was(refund: World, monkeypatch: pytest.MonkeyPatch) -> None:
    put, sent, dying = store._Told.put, list[str](), True

    def deadly(self: store._Told, path: str, *data: Any) -> None:
        if len(sent) == 3 and dying:
            raise SystemExit  # as the process ends
        sent.append(path)
        put(self, path, *data)

    monkeypatch.setattr(store._Told, "put", deadly)
    job = ask(refund)
    with pytest.raises(SystemExit):
        work.work(job.id)
    assert now(job).state == "running" and "manifest.json" not in copied(now(job).copied_to)
    first, dying = sent[:], False
    sent.clear()
    work.work(job.id)
    assert now(job).state == "done" and copied(now(job).copied_to) == files(job.folder)
    assert len(first) == 3 and not set(first) & set(sent) and sent[-1] == "manifest.json"


def test_others_have_their_turn_while_much_is_copied(refund: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = ask(refund)
    monkeypatch.setattr(work, "SLICE", -1.0)
    turns = 0
    while work.work(job.id):
        turns += 1
        assert now(job).state == "running" and turns < 2
        monkeypatch.setattr(work, "SLICE", 240.0)
    assert turns == 1 and now(job).state == "done" and copied(now(job).copied_to) == files(job.folder)


def test_a_pause_stops_the_copy_and_a_resume_finishes_it(refund: World, monkeypatch: pytest.MonkeyPatch) -> None:
    put = store._Told.put

    def paused(self: store._Told, *data: Any) -> None:
        put(self, *data)
        exports.pause(evidence.raw_connection(), CARLA, refund.project.pk, job.id)

    job = ask(refund)
    monkeypatch.setattr(store._Told, "put", paused)
    work.work(job.id)
    assert now(job).state == "paused" and len(copied(now(job).copied_to)) == 1
    monkeypatch.setattr(store._Told, "put", put)
    exports.resume(evidence.raw_connection(), CARLA, refund.project.pk, job.id)
    work.work(job.id)
    assert now(job).state == "done" and copied(now(job).copied_to) == files(job.folder)


def test_what_the_storage_refuses_is_said_and_a_resume_goes_on(refund: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = ask(refund)
    monkeypatch.setenv("AUDITLOG_EXPORT_STORE", "s3://nobodys/exports")
    work.work(job.id)
    failed = now(job)
    assert failed.state == "failed" and failed.error.startswith("export_store_failed: s3://nobodys/exports/"), failed.error
    assert "NoSuchBucket" in failed.error or "not found" in failed.error
    monkeypatch.setenv("AUDITLOG_EXPORT_STORE", "s3://evidence/elsewhere")
    exports.resume(evidence.raw_connection(), CARLA, refund.project.pk, job.id)
    work.work(job.id)
    assert (now(job).state, now(job).copied_to) == ("done", f"s3://evidence/elsewhere/{job.id}")


def test_an_expired_export_is_gone_there_too_and_its_neighbours_stay(refund: World, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[Export] = [ask(refund), ask(refund)]
    for job in jobs:
        work.work(job.id)
    gone, stays = now(jobs[0]), now(jobs[1])
    refund.bench.owner.execute("UPDATE export_job SET expires_at = now() - interval '1 day' WHERE id = %s", (gone.id,))
    with monkeypatch.context() as away:
        away.setenv("AWS_ENDPOINT", "http://127.0.0.1:1")
        away.setattr(store, "_PATIENCE", {"max_retries": 0})
        assert work.tidy() == [] and now(gone).removed_at is None and not gone.folder.exists()  # it is said, and tried again
    assert now(gone).error.startswith("export_store_failed")
    assert work.tidy() == [gone.id] and now(gone).removed_at, now(gone).error
    assert copied(gone.copied_to) == {} and copied(stays.copied_to) == files(stays.folder)


@pytest.mark.parametrize("value", ["exports", "https://bucket", "s3://", "s3://key:secret@bucket/x", "s3://bucket?region=eu"])
def test_an_address_that_is_no_bucket_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITLOG_EXPORT_STORE", value)
    with pytest.raises(conf.SettingError, match="must be s3://bucket"):
        conf.get("AUDITLOG_EXPORT_STORE")
