"""Owns a timestamp authority for tests: `openssl ts -reply` behind a small server, with certificates of its own."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

CONFIG: Final = """
[req]
distinguished_name = dn
[dn]
[signing]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
[stamping]
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
[tsa]
default_tsa = here
[here]
serial = {folder}/serial
signer_digest = sha256
default_policy = 1.3.6.1.4.1.99999.1
digests = sha256, sha512
ess_cert_id_alg = sha256
"""
Reply = tuple[int, bytes]


def openssl(folder: Path, *arguments: str) -> bytes:
    return subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, check=True, timeout=30).stdout


def make(folder: Path) -> Path:
    """Keys and certificates: root.pem signed between.pem, and that one tsa.pem."""
    folder.mkdir()
    (folder / "cnf").write_text(CONFIG.format(folder=folder))
    new = ("-config", "cnf", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj")
    openssl(folder, "req", "-x509", *new, "/CN=root", "-days", "30", "-extensions", "signing", "-keyout", "root.key", "-out", "root.pem")
    for above, name, extensions in (("root", "between", "signing"), ("between", "tsa", "stamping")):
        openssl(folder, "req", *new, f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        signer = ("-CA", f"{above}.pem", "-CAkey", f"{above}.key", "-CAcreateserial", "-days", "30", "-extfile", "cnf")
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", *signer, "-extensions", extensions, "-out", f"{name}.pem")
    return folder


def reply(folder: Path, query: bytes) -> bytes:
    """What the authority of a folder answers."""
    name = f"{threading.get_ident()}-{time.monotonic_ns()}"
    (folder / f"{name}.tsq").write_bytes(query)
    signer = ("-inkey", "tsa.key", "-signer", "tsa.pem", "-chain", "between.pem")
    openssl(folder, "ts", "-reply", "-config", "cnf", "-queryfile", f"{name}.tsq", *signer, "-out", f"{name}.tsr")
    return (folder / f"{name}.tsr").read_bytes()


class Server:
    """An authority at an address, and what it answers instead where `lie` is set."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = make(folder), 0
        self.lie: Callable[[bytes], Reply] | None = None
        self.slow = 0.0  # seconds between two bytes of an answer
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.http.server_port}/tsr"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    @property
    def root(self) -> Path:
        return self.folder / "root.pem"

    def setting(self, name: str = "here") -> str:
        return f"{name} {self.url} {self.root}"

    def answer(self, query: bytes) -> Reply:
        self.asked += 1
        return self.lie(query) if self.lie is not None else (200, reply(self.folder, query))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/tsr" and self.headers["Content-Type"] == "application/timestamp-query"
                status, data = server.answer(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(status)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.send_header("Location", "http://127.0.0.1:1/")
                self.end_headers()
                try:
                    for byte in data if server.slow else b"":
                        self.wfile.write(bytes([byte]))
                        time.sleep(server.slow)
                    if not server.slow:
                        self.wfile.write(data)
                except OSError:
                    pass  # nobody waits for it any more

            def log_message(self, *_: object) -> None:
                """Nothing."""

        return Handler
