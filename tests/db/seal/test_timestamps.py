"""Owns that checkpoints are timestamped as RFC 3161 says, by an authority made with OpenSSL, and nothing is kept of one that lies."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.management import call_command

from auditlog import conf
from auditlog.management.commands import seal
from auditlog.proof import timestamp
from auditlog.seal import anchoring, keys
from auditlog.seal.anchoring import NotAnchored
from auditlog.seal.timestamps import Asking, configured, start
from tests.authority import Reply, Server, make, openssl, reply
from tests.db.seal.conftest import Seals

pytestmark = pytest.mark.django_db  # only so that pytest-django makes the database; these tests commit over connections of their own

SETTING = "AUDITLOG_TIMESTAMP_AUTHORITIES"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    made = Server(tmp_path / "authority")
    monkeypatch.setenv(SETTING, made.setting())
    yield made
    made.close()


def asking(seals: Seals) -> Asking:
    assert seals.conn is not None
    (one,) = configured()
    return Asking(seals.conn, one)


def kept(seals: Seals) -> list[tuple[int, str]]:
    return [(row[0], row[1]) for row in seals.bench.rows("SELECT size, name FROM anchor WHERE kind = 'timestamp' ORDER BY size")]


def test_the_newest_checkpoint_is_stamped_once_an_hour_and_openssl_says_so(seals: Seals, server: Server, tmp_path: Path) -> None:
    work = seals.start()
    mine = asking(seals)
    assert not mine.turn()  # nothing is signed yet
    for count in (3, 5):
        seals.plant(count)
        work.round()
        mine._next = 0.0
        assert mine.turn() and not mine.turn()
        keys.ask_for_rotation(seals.key_file)  # which key signs is nothing to the authority
    mine._next = 0.0
    assert not mine.turn()  # what is stamped is not asked for again
    seals.plant(1)
    work.round()
    mine._next = time.monotonic() + 3590
    assert not mine.turn()  # within the hour nothing more
    assert kept(seals) == [(3, "here"), (8, "here")] and server.asked == 2
    notes = {size: text for size, _, text in seals.checkpoints()}
    check = ("ts", "-verify", "-in", "tsr", "-data", "note", "-CAfile", str(server.root))
    for size, proof, at in seals.bench.rows("SELECT size, proof, anchored_at FROM anchor WHERE kind = 'timestamp'"):
        (tmp_path / "note").write_text(notes[size])
        (tmp_path / "tsr").write_bytes(proof)
        said = openssl(tmp_path, "ts", "-reply", "-in", "tsr", "-text").decode()
        assert "Status: Granted." in said and at.astimezone(UTC).strftime("%b %e %H:%M:%S %Y GMT") in said
        assert abs(datetime.now(UTC) - at).total_seconds() < 60
        openssl(tmp_path, *check)
        (tmp_path / "note").write_text(f"{notes[size]} ")
        with pytest.raises(subprocess.CalledProcessError):
            openssl(tmp_path, *check)


def test_after_a_restart_nothing_is_asked_again_until_the_hour_is_over(seals: Seals, server: Server) -> None:
    seals.plant(3)
    seals.start().round()
    assert asking(seals).turn()
    assert not asking(seals).turn()
    seals.plant(1)
    seals.start().round()
    later = asking(seals)
    assert not later.turn() and 3590 < later._next - time.monotonic() <= 3600
    seals.bench.owner.execute("UPDATE anchor SET anchored_at = now() - interval '59 min 59.5 s'")
    soon = asking(seals)
    assert not soon.turn()
    time.sleep(0.6)
    assert soon.turn() and kept(seals) == [(3, "here"), (4, "here")] and server.asked == 2
    seals.bench.owner.execute(
        "UPDATE anchor SET anchored_at = now() + interval '1 day'"
    )  # a clock that was ahead delays for an hour at most
    assert 3590 < asking(seals)._next - time.monotonic() <= 3600


def lies(good: Path, other: Path) -> Iterator[tuple[str, Callable[[bytes], Reply]]]:
    """(the reason that is told, an answer that is wrong). other: of an authority that is not the one of the setting."""

    def asked_again(query: bytes, *options: str) -> bytes:
        """Another question about the same checkpoint."""
        return openssl(good, "ts", "-query", "-sha256", "-cert", "-digest", imprint(query), *options)

    sha256, sha3 = bytes.fromhex("608648016503040201"), bytes.fromhex("608648016503040208")
    yield "signature_wrong", lambda query: (200, reply(other, query))
    yield "signature_wrong", lambda query: (200, reply(good, query)[:-3] + b"\0\0\0")
    yield "nonce_wrong", lambda query: (200, reply(good, asked_again(query)))
    yield "nonce_wrong", lambda query: (200, reply(good, asked_again(query, "-no_nonce")))
    yield "imprint_wrong", lambda _: (200, reply(good, timestamp.query(b"another").data))
    yield "rejected", lambda query: (200, reply(good, query.replace(sha256, sha3)))  # as an authority that does not know it answers
    yield "rejected", lambda _: (200, bytes.fromhex("30053003020102"))
    yield "rejected", lambda _: (200, bytes.fromhex("30053003020109"))  # there is no such status
    yield "answer", lambda _: (200, bytes.fromhex("30053003020100"))  # granted, and nothing with it
    yield "answer", lambda _: (200, b"")
    yield "answer", lambda _: (200, b"<html>")
    yield "answer", lambda query: (200, reply(good, query) + b"\0")
    yield "answer", lambda query: (200, reply(good, query)[:-1])
    yield "answer", lambda _: (200, b"-" * 70_000)
    yield "answer", lambda query: (302, reply(good, query))
    yield "answer", lambda query: (429, reply(good, query))


def imprint(query: bytes) -> str:
    at = query.index(bytes.fromhex("05000420")) + 4  # after the algorithm: an OCTET STRING of 32 bytes
    return query[at : at + 32].hex()


def test_nothing_is_kept_of_an_authority_that_lies_or_refuses_and_it_is_asked_later(seals: Seals, server: Server, tmp_path: Path) -> None:
    seals.plant(3)
    seals.start().round()
    for number, (reason, lie) in enumerate(lies(server.folder, make(tmp_path / "other"))):
        server.lie = lie
        mine = asking(seals)
        with pytest.raises(NotAnchored) as error:
            mine.turn()
        assert (number, error.value.reason) == (number, reason)
        assert not mine.turn() and mine._wait == 120 and server.asked == number + 1  # later, and then later still
    assert kept(seals) == []


def test_a_clock_that_is_not_ours_is_not_believed(seals: Seals, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    seals.plant(3)
    seals.start().round()
    now = time.time
    for ahead in (-400, 400):
        monkeypatch.setattr("auditlog.seal.timestamps.time", SimpleNamespace(time=lambda ahead=ahead: now() + ahead))
        with pytest.raises(NotAnchored, match="time_wrong"):
            asking(seals).turn()
    assert kept(seals) == []


def test_an_authority_that_is_gone_or_slow_holds_nobody_and_another_is_asked_all_the_same(
    seals: Seals, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seals.plant(3)
    seals.start().round()
    monkeypatch.setattr(anchoring, "TIMEOUT", 0.5)
    server.slow = 0.1
    begun = time.monotonic()
    with pytest.raises(NotAnchored, match="unreachable"):
        asking(seals).turn()
    assert 0.4 < time.monotonic() - begun < 2
    server.slow = 5.0
    with pytest.raises(NotAnchored, match="unreachable"):
        asking(seals).turn()
    server.slow, stop = 0.0, threading.Event()
    gone = f"gone http://127.0.0.1:1/ {server.root}"
    monkeypatch.setenv(SETTING, f"{gone}, {server.setting()}")
    start(configured(), stop)  # as the process does, each in a thread
    for _ in range(200):
        if kept(seals):
            break
        time.sleep(0.05)
    stop.set()
    assert kept(seals) == [(3, "here")]
    ended()


def test_the_sealers_process_asks_the_authorities_of_the_setting(seals: Seals, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    seals.plant(3)
    seals.start().round()

    def run(self: seal.Loop) -> None:
        for _ in range(200):
            if kept(seals):
                break
            time.sleep(0.05)
        self._stop.set()

    monkeypatch.setattr(seal.Loop, "run", run)
    for name in ("signal.signal", "logs.catch", "telemetry.start"):  # of this process of tests they stay as they are
        monkeypatch.setattr(f"{seal.__name__}.{name}", lambda *_: None)
    call_command("seal")
    assert kept(seals) == [(3, "here")]
    ended()
    monkeypatch.setenv(SETTING, "here")
    with pytest.raises(conf.SettingError, match=SETTING):
        call_command("seal")


def ended() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("timestamps "):
            thread.join(10)


def test_authorities_are_read_from_their_setting(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = tmp_path / "many certificates.pem"
    many.write_bytes(server.root.read_bytes() + (server.folder / "between.pem").read_bytes())
    monkeypatch.setenv(SETTING, f"{server.setting()}, b.2 https://example.com/tsa {many}")
    assert [(one.name, one.url, len(one.roots)) for one in configured()] == [("here", server.url, 1), ("b.2", "https://example.com/tsa", 2)]
    (tmp_path / "none.pem").write_text("no certificate")
    for wrong in (
        "here",
        f"here {server.url}",
        f"Here {server.url} {server.root}",
        f"../here {server.url} {server.root}",
        f"here ftp://example.com {server.root}",
        f"here https:// {server.root}",
        f"here {server.url} {tmp_path}/gone.pem",
        f"here {server.url} {tmp_path}",
        f"here {server.url} {tmp_path}/none.pem",
        f"here {server.url} {server.folder}/tsa.key",
        f"{server.setting()},{server.setting()}",
    ):
        monkeypatch.setenv(SETTING, wrong)
        with pytest.raises(conf.SettingError, match=SETTING):
            configured()
