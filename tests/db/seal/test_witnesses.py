"""Owns that witnesses are asked as C2SP tlog-witness says, and nothing is kept of one that lies; ours here is written from that page."""

from __future__ import annotations

import hashlib
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auditlog import conf
from auditlog.proof import cosignature, note
from auditlog.seal.anchoring import NotAnchored
from auditlog.seal.log import Log
from auditlog.seal.witnesses import Asking, Witness, configured, start
from tests.db.seal.conftest import Seals

pytestmark = pytest.mark.django_db  # only so that pytest-django makes the database; these tests commit over connections of their own

NAME = "witness.example/w1"
Answer = tuple[int, str, bytes]
TEXT, SIZE = "text/plain", "text/x.tlog.size"


def grown(m: int, n: int, proof: list[bytes], old: bytes, complete: bool = True) -> tuple[bytes, bytes]:
    """Both roots as RFC 6962, section 2.1.2, makes them of a proof, read from its end."""
    if m == n:
        return (old, old) if complete else (proof[-1], proof.pop())
    k = 1 << (n - 1).bit_length() - 1
    beside = proof.pop()
    if m <= k:
        before, after = grown(m, k, proof, old, complete)
        return before, hashlib.sha256(b"\1" + after + beside).digest()
    before, after = grown(m - k, n - k, proof, old, False)
    return hashlib.sha256(b"\1" + beside + before).digest(), hashlib.sha256(b"\1" + beside + after).digest()


class Server:
    """A witness of one log, and what it answers instead where `lie` is set."""

    def __init__(self) -> None:
        self.private = Ed25519PrivateKey.generate()
        self.size, self.root, self.asked = 0, b"", 0
        self.lie: Callable[[str], Answer] | None = None
        self.http = HTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.http.server_port}/w1"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    def vkey(self) -> str:
        data = b"\4" + self.public
        return f"{NAME}+{self.key_id().hex()}+{b64encode(data).decode()}"

    def key_id(self) -> bytes:
        return hashlib.sha256(f"{NAME}\n".encode() + b"\4" + self.public).digest()[:4]

    def sign(self, body: str, at: int | None = None, private: Ed25519PrivateKey | None = None) -> bytes:
        at = int(time.time()) if at is None else at
        data = (private or self.private).sign(f"cosignature/v1\ntime {at}\n{body}".encode())
        return f"— {NAME} {b64encode(self.key_id() + at.to_bytes(8, 'big') + data).decode()}\n".encode()

    def answer(self, request: str) -> Answer:
        self.asked += 1
        head, _, signed = request.partition("\n\n")
        first, *lines = head.split("\n")
        body = signed.partition("\n\n")[0] + "\n"
        if self.lie is not None:
            return self.lie(body)
        old, size, root = int(first.removeprefix("old ")), int(body.split("\n")[1]), b64decode(body.split("\n")[2])
        if old != self.size:
            return 409, SIZE, f"{self.size}\n".encode()
        proof = [b64decode(line) for line in lines]
        if old and (grown(old, size, proof, self.root) != (self.root, root) or proof):
            return 422, TEXT, b""
        self.size, self.root = size, root
        return 200, TEXT, b"\xe2\x80\x94 stranger.example AAAAAAAA\n" + self.sign(body)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer = self.answer

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/w1/add-checkpoint"
                status, kind, data = answer(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Location", "http://127.0.0.1:1/")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        return Handler


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


def asking(seals: Seals, server: Server) -> Asking:
    assert seals.conn is not None
    return Asking(seals.conn, Witness(cosignature.read_key(server.vkey()), server.url))


def kept(seals: Seals) -> list[tuple[int, str]]:
    return [(row[0], row[1]) for row in seals.bench.rows("SELECT size, name FROM anchor WHERE kind = 'witness' ORDER BY size")]


def test_a_witness_cosigns_a_log_that_grows_and_is_told_where_it_was_left(seals: Seals, server: Server) -> None:
    work = seals.start()
    mine = asking(seals, server)
    assert not mine.turn()  # nothing is signed yet
    for count in (3, 300, 5):
        seals.plant(count)
        work.round()
        mine._next = 0.0
        assert mine.turn() and not mine.turn()
    assert kept(seals) == [(3, NAME), (303, NAME), (308, NAME)] and server.asked == 3
    assert seals.conn is not None
    head = Log(seals.conn).head()
    assert head is not None
    whole = Log(seals.conn).cosigned(head)
    body, lines = whole.split("\n\n")
    assert whole.startswith(head.note) and note.open_note(whole, seals.keys()).signers == seals.keys()
    assert cosignature.cosigned(f"{body}\n", lines, cosignature.read_key(server.vkey()))[1] <= time.time()
    assert not asking(seals, server).turn()  # after a start: that one is there
    seals.bench.owner.execute("TRUNCATE anchor")
    seals.plant(1)
    work.round()
    assert asking(seals, server).turn() and kept(seals) == [(309, NAME)] and server.asked == 5  # 409, and then from there


def test_nothing_is_kept_of_a_witness_that_lies_or_refuses_and_it_is_asked_later(seals: Seals, server: Server) -> None:
    seals.plant(3)
    seals.start().round()
    other, far = Ed25519PrivateKey.generate(), int(time.time()) + 3600
    lies: list[tuple[str, Callable[[str], Answer]]] = [
        ("signature_wrong", lambda body: (200, TEXT, server.sign(body, private=other))),
        ("signature_wrong", lambda body: (200, TEXT, server.sign(body.replace("\n3\n", "\n2\n")))),
        ("signature_wrong", lambda body: (200, TEXT, b"more\n\n" + server.sign(f"{body}\nmore\n"))),
        ("signature_wrong", lambda body: (200, TEXT, server.sign(body)[:-10] + b"\n")),
        ("signature_wrong", lambda body: (200, TEXT, b"")),
        ("time_wrong", lambda body: (200, TEXT, server.sign(body, far))),
        ("tree_differs", lambda _: (409, SIZE, b"4\n")),
        ("tree_differs", lambda _: (409, SIZE, b"3\n")),
        ("tree_differs", lambda _: (409, TEXT, b"")),
        ("tree_differs", lambda _: (422, TEXT, b"")),
        ("log_unknown", lambda _: (404, TEXT, b"")),
        ("key_unknown", lambda _: (403, TEXT, b"")),
        ("request", lambda _: (400, TEXT, b"")),
        ("answer", lambda _: (409, SIZE, b"many\n")),
        ("answer", lambda _: (200, TEXT, b"\xff")),
        ("answer", lambda _: (200, TEXT, b"-" * 70_000)),
        ("answer", lambda body: (302, TEXT, server.sign(body))),
        ("answer", lambda body: (500, TEXT, server.sign(body))),
    ]
    for number, (reason, lie) in enumerate(lies):
        server.lie = lie
        mine = asking(seals, server)
        with pytest.raises(NotAnchored) as error:
            mine.turn()
        assert (number, error.value.reason) == (number, reason)
        assert not mine.turn() and mine._wait == 120  # later, and then later still
    gone = Witness(cosignature.read_key(server.vkey()), "http://127.0.0.1:1")
    assert seals.conn is not None
    with pytest.raises(NotAnchored, match="unreachable"):
        Asking(seals.conn, gone).turn()
    assert kept(seals) == []
    server.lie, stop = None, threading.Event()
    start([gone, Witness(gone.key, server.url)], stop)  # as the process does, each in a thread
    for _ in range(200):
        if kept(seals):
            break
        time.sleep(0.05)
    stop.set()
    assert kept(seals) == [(3, NAME)]
    for thread in threading.enumerate():
        if thread.name.startswith("witness "):
            thread.join(10)


def test_witnesses_are_read_from_their_setting(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITLOG_WITNESSES", f"{server.vkey()} {server.url}/")
    assert configured() == [Witness(cosignature.Key(NAME, server.public), server.url)]
    assert configured()[0].key.text() == server.vkey()
    own = note.Signer("n", b"?" * 32).key.text()
    for wrong in (
        "x",
        server.vkey(),
        f"{server.vkey()} http://example.com",
        f"{own} https://w.example",
        f"{server.vkey()[:-2]}A= https://w.example",
    ):
        monkeypatch.setenv("AUDITLOG_WITNESSES", wrong)
        with pytest.raises(conf.SettingError, match="AUDITLOG_WITNESSES"):
            configured()
