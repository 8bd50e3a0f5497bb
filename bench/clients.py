"""Owns the senders: requests that are ready, sent once over a few connections, as OTLP/HTTP or OTLP/gRPC.

Bodies are serialised and compressed before the first is sent, so that nobody waits for the sender; gzip over gRPC alone is made by the
library on the way, in the sender's process, whose CPU nobody counts. Whatever is not success ends the run: a benchmark of refusals is none.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Final

import grpc
import zstandard

from tests.service import Service

Requests = list[tuple[int, bytes]]  # (spans, body)
Sender = Callable[[bytes], None]

CONNECTIONS: Final = 4
ENCODERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "plain": bytes,
    "gzip": lambda body: gzip.compress(body, 6, mtime=0),
    "zstd": lambda body: zstandard.ZstdCompressor(level=3).compress(body),
}
_EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def encoded(requests: Requests, encoding: str) -> Requests:
    return [(count, ENCODERS[encoding](body)) for count, body in requests]


def post(service: Service, requests: Requests, encoding: str = "plain", connections: int = CONNECTIONS) -> float:
    """Over OTLP/HTTP; the bodies are in this encoding. Returns seconds. Raises SystemExit."""
    headers = {"Content-Type": "application/x-protobuf", "Authorization": f"Bearer {service.first_run['ingest_key']}"}
    if encoding != "plain":
        headers["Content-Encoding"] = encoding

    @contextlib.contextmanager
    def connect() -> Iterator[Sender]:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", service.otlp, timeout=60)) as connection:

            def one(body: bytes) -> None:
                connection.request("POST", "/v1/traces", body, headers)
                answer = connection.getresponse()
                said = answer.read()
                if not 200 <= answer.status < 300:
                    raise RuntimeError(f"{answer.status}: {said!r:.300}")

            yield one

    return _together(requests, connect, connections)


def call(service: Service, requests: Requests, compression: str = "plain", connections: int = CONNECTIONS) -> float:
    """Over OTLP/gRPC; the bodies are plain, the library compresses ("gzip"). Returns seconds. Raises SystemExit."""
    metadata = (("authorization", f"Bearer {service.first_run['ingest_key']}"),)
    chosen = grpc.Compression.Gzip if compression == "gzip" else grpc.Compression.NoCompression

    @contextlib.contextmanager
    def connect() -> Iterator[Sender]:
        options = [("grpc.use_local_subchannel_pool", 1)]  # else all channels would share one connection
        with grpc.insecure_channel(f"127.0.0.1:{service.grpc}", options) as channel:
            export = channel.unary_unary(_EXPORT)

            def one(body: bytes) -> None:
                try:
                    export(body, metadata=metadata, compression=chosen, timeout=60)
                except grpc.RpcError as error:
                    raise RuntimeError(f"{error.code()}: {error.details()!r:.300}") from None

            yield one

    return _together(requests, connect, connections)


def _together(requests: Requests, connect: Callable[[], AbstractContextManager[Sender]], connections: int) -> float:
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    for _, body in requests:
        waiting.put(body)
    bad: list[str] = []

    def work() -> None:
        try:
            with connect() as one:
                while not bad:
                    one(waiting.get_nowait())
        except queue.Empty:
            return
        except (RuntimeError, OSError, http.client.HTTPException) as error:
            bad.append(str(error) or type(error).__name__)

    started = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if bad:
        raise SystemExit(f"refused: {bad[0]}")
    return time.perf_counter() - started
