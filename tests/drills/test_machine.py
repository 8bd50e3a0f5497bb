"""Owns the drills of a machine that fails: its disk no longer flushes or forgets, its clock jumps, its memory is attacked."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psutil
import psycopg
import pytest
import zstandard

from auditlog import keys
from auditlog.platform import process
from auditlog.platform.embedded import Embedded
from tests.contract.transports import PROTOBUF, send
from tests.drills.invariants import hold
from tests.drills.stand import Batch, Stand, batch
from tests.drills.test_database import fill
from tests.platform.test_supervisor import eventually
from tests.service import ROOT, free_ports

drill = pytest.mark.drill
FAKETIME: Final = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)


# -- the disk


@contextlib.contextmanager
def no_flush(stand: Stand) -> Iterator[None]:
    """Every fsync and fdatasync of PostgreSQL fails with EIO, as on a disk that is gone or after its write cache was lost."""
    pids = [str(child.pid) for child in stand.service.processes() if child.name() == "postgres"]
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO"]
    tracer = subprocess.Popen([*command, *(f"-p{pid}" for pid in pids)])
    try:
        eventually(lambda: tracer.poll() is not None or all("TracerPid:\t0" not in status(pid) for pid in pids))
        if tracer.poll() is not None:
            pytest.skip("strace may not attach here")
        yield
    finally:
        tracer.terminate()
        tracer.wait()


def status(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return ""


@drill("no flush", long=True)
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_no_batch_is_acknowledged_while_the_disk_does_not_flush(stand: Stand) -> None:
    stand.deliver(batch())
    before = Counter(stand.ledger.answers)
    sent = [batch() for _ in range(8)]
    supervisor = stand.service.process
    assert supervisor
    supervisor.send_signal(signal.SIGSTOP)  # it would start another PostgreSQL, whose flushes nobody disturbs
    try:
        with no_flush(stand), ThreadPoolExecutor(8) as pool:
            list(pool.map(stand.send, sent))
    finally:
        supervisor.send_signal(signal.SIGCONT)
    told = stand.ledger.answers - before
    hold(not told["200"], f"{told['200']} of 8 batches were acknowledged while no flush succeeded")
    stand.service.wait_ready()
    for one in sent:
        stand.deliver(one)
    stand.check()


@drill("WAL full", long=True)
def test_while_the_disk_of_the_log_is_full_senders_are_told_503_and_afterwards_all_goes_on_by_itself(own: Stand) -> None:
    """PostgreSQL itself cannot live without its write-ahead log: it ends, and is started until there is room."""
    place, wal = own.service.folder / "wal", own.service.data / "postgres" / "pg_wal"
    own.service.stop()
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128m,mode=777", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("a file system of its own can be mounted by root only")
    try:
        subprocess.run(["cp", "-a", str(wal), str(place / "pg_wal")], check=True)
        shutil.rmtree(wal)
        wal.symlink_to(place / "pg_wal")
        own.service.start()
        with own.load(3):
            filler = fill(place)
            for _ in range(12):
                with contextlib.suppress(psycopg.Error):
                    own.execute("SELECT pg_switch_wal()")
            eventually(lambda: not own.service.ready())
            time.sleep(40)  # longer than the supervisor would be patient with a process that never served
            filler.unlink()
            try:
                own.service.wait_ready()
            except AssertionError:
                hold(False, f"not ready again; {dict(own.ledger.answers)}")
        assert own.ledger.answers["503"] > 5
        own.check()
    finally:
        own.service.remove()
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@drill("bit on disk", long=True)
def test_a_bit_that_flips_on_the_disk_is_an_error_and_never_read_as_evidence(stand: Stand) -> None:
    sent = batch(1)
    stand.deliver(sent)
    stand.examine()
    (place,) = stand.execute("SELECT pg_relation_filepath(tableoid) FROM event WHERE span_id = %s", *sent.spans)
    server = Embedded(stand.service.data)
    file = server.data / place[0]
    with stand.database_stopped():
        if stand.without == "checksums":
            command = [server.installation().program("pg_checksums"), "--disable", "-D", str(server.data)]
            assert process.run(command, user=server._user, cwd=Path("/"))[0] == 0
        at = file.read_bytes().rindex(min(sent.spans))  # in the skeleton, which stands behind the columns
        flip(file, at)
    stand.service.wait_ready()
    found: object = None
    try:
        found = stand.examine()
    except psycopg.errors.DataCorrupted as error:
        assert "invalid page" in str(error)
    finally:
        with stand.database_stopped():
            flip(file, at)
    hold(found is None, f"a row with a flipped bit was read without an error; what verification then found: {found}")
    stand.check()


def flip(file: Path, at: int) -> None:
    with file.open("r+b") as data:
        data.seek(at)
        (byte,) = data.read(1)
        data.seek(at)
        data.write(bytes([byte ^ 1]))


# -- the clock


@contextlib.contextmanager
def receiver(stand: Stand, clock: str) -> Iterator[int]:
    """One more receiver, of a machine whose clock is wrong by so much: its port."""
    (port,) = free_ports(1)
    env = stand.service.env | {
        "DATABASE_URL": stand.url, "AUDITLOG_OTLP_HTTP": f"127.0.0.1:{port}", "AUDITLOG_WORKERS": "1",
        "LD_PRELOAD": str(FAKETIME), "FAKETIME": clock, "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    log = (stand.service.folder / "clock.log").open("ab")
    started = subprocess.Popen([sys.executable, "-m", "auditlog.ingest.otlp_http"], cwd=ROOT, env=env, stderr=log)
    try:
        eventually(lambda: send(port, "/v1/traces", b"", key=None).status == 401 if listening(port) else started.poll() is not None)
        assert started.poll() is None, (stand.service.folder / "clock.log").read_text()
        yield port
    finally:
        started.kill()
        started.wait()
        log.close()


def listening(port: int) -> bool:
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in psutil.net_connections("tcp"))


@drill("clock", long=True)
@pytest.mark.skipif(FAKETIME is None, reason="needs libfaketime")
def test_a_receiver_whose_clock_is_a_day_ahead_or_behind_stores_each_event_once_and_takes_no_revoked_key(stand: Stand) -> None:
    (key_id, secret) = (made := keys.make()).public_id, made.digest
    stand.execute(
        "INSERT INTO api_key (public_id, project_id, name, scopes, secret_digest, created_at, revoked_at) "
        "SELECT %s, min(id), 'revoked', '{ingest}', %s, now(), now() FROM project", key_id, secret,
    )  # fmt: skip
    sent: list[Batch] = [batch() for _ in range(3)]
    stand.deliver(sent[0])
    for clock in ("-1d", "+1d"):
        with receiver(stand, clock) as port:
            for one in sent:
                stand.deliver(one, port)
            answer = stand.send(batch(), port, key=made.text)
            hold(answer == "401", f"a key that was revoked a moment ago is answered {answer} where the clock is {clock}")
    stand.ledger.answers.pop("401")
    for one in sent:
        stand.deliver(one)
    ((early, late),) = stand.execute("SELECT min(received_at), max(received_at) FROM batch WHERE protocol <> 5")
    assert early < datetime.now(UTC) - timedelta(hours=20) and late > datetime.now(UTC) + timedelta(hours=20)  # they were wrong indeed
    stand.check()


# -- memory


class Watch:
    """The most memory that a process of a role has held, looked at all the time."""

    def __init__(self, stand: Stand, role: str) -> None:
        main = psutil.Process(stand.service.pid(role))
        self._processes = [main, *main.children(recursive=True)]
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.most = 0

    def _look(self) -> None:
        while not self._enough.wait(0.02):
            self.most = max([self.most, *(one.memory_info().rss for one in self._processes if one.is_running())])

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._enough.set()
        self._thread.join()


BOMBS: Final = 1000
MOST: Final = 700 * 1024 * 1024  # bytes: what a worker holds anyway, and two bodies of the largest size while they are unpacked


@drill("bombs", long=True)
def test_a_thousand_decompression_bombs_cost_no_memory_and_nobody_else_anything(stand: Stand, told: Any) -> None:
    zeros, packer = bytes(1 << 24), zstandard.ZstdCompressor().compressobj()
    bomb = b"".join([*(packer.compress(zeros) for _ in range(64)), packer.flush()])  # a gigabyte in some 30 KB
    answers: Counter[int] = Counter()

    def throw(_: int) -> None:
        answers[send(stand.service.otlp, "/v1/traces", bomb, key=stand.key, content_type=PROTOBUF, content_encoding="zstd").status] += 1

    before = stand.ledger.answers["200"]
    with Watch(stand, "otlp-http") as watch, stand.load(2), ThreadPoolExecutor(16) as pool:
        list(pool.map(throw, range(24 if stand.without else BOMBS)))
    told(f"{dict(answers)}, {stand.ledger.answers['200'] - before} other batches acknowledged, at most {watch.most >> 20} MiB in a process")
    hold(watch.most < MOST, f"a process held {watch.most >> 20} MiB")
    hold(set(answers) <= {413, 503}, f"{dict(answers)}")
    stand.check()
