"""Owns the web port: ingest paths go to ingest, everything else to Django in a few threads. `python -m auditlog.front`."""

from __future__ import annotations

import asyncio
import io
import logging
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from auditlog import conf
from auditlog.ingest import outcome, receive, server
from auditlog.ingest.otlp_http import Ingest

logger = logging.getLogger("auditlog.front")

THREADS: Final = 8  # pages and reads at once
_LARGEST_FORM: Final = 4 * 1024 * 1024  # bytes; Django itself refuses forms above 2.5 MB
_LARGEST_HELD: Final = 16 * 1024 * 1024  # a larger answer is sent in pieces
_PIECE: Final = 256 * 1024

# Of every answer on this port that is not Django's: whoever opens it in a browser gets text that can do nothing.
_INERT: Final = [
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("x-content-type-options", "nosniff"),
    ("cache-control", "no-store"),
]
_TEXT: Final = [("content-type", "text/plain; charset=utf-8"), *_INERT]

StartResponse = Callable[..., Any]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


class Front:
    """The RSGI application of the web port."""

    def __init__(self, application: Application | None = None) -> None:
        self._ingest = Ingest(headers=_INERT)
        self._pages = ThreadPoolExecutor(THREADS, thread_name_prefix="pages")
        self._body_timeout = float(conf.get("AUDITLOG_BODY_TIMEOUT"))
        self._application = application
        self._loading = threading.Lock()
        self._pages.submit(self._django)  # takes seconds; ingest on this port does not wait for it

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        if is_ingest(scope.method, scope.path, scope.headers.get("content-type")):
            await self._ingest.answer(scope, protocol)
            return
        try:
            body = await self._body(scope, protocol)
        except (TimeoutError, _TooLarge, _Broken) as error:
            status, text = error.answer if isinstance(error, _Refused) else (408, b"The request did not arrive in time.\n")
            protocol.response_bytes(status, _TEXT, text)
            return
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._pages, self._serve, loop, scope, protocol, body)

    async def _body(self, scope: Any, protocol: Any) -> bytes:
        length = scope.headers.get("content-length")
        if length is None and scope.headers.get("transfer-encoding") is None:
            return b""
        chunks: list[bytes] = []
        size = empty = 0
        source = aiter(protocol)
        async with server.arriving(self._body_timeout):
            while True:
                try:
                    chunk = await source.__anext__()
                except StopAsyncIteration:
                    break
                empty += not chunk
                size += len(chunk)
                if size <= _LARGEST_FORM:
                    chunks.append(chunk)
                elif size > 16 * _LARGEST_FORM:
                    raise _TooLarge
        if size > _LARGEST_FORM:
            raise _TooLarge
        if empty > 1 or (length is not None and length != str(size)):  # broke off on the way, see ingest.otlp_http
            raise _Broken
        return b"".join(chunks)

    def _django(self) -> Application:
        with self._loading:
            if self._application is None:
                from auditlog.platform import gauges
                from auditlog.wsgi import application

                self._application = application
                gauges.register()
        return self._application

    def _serve(self, loop: asyncio.AbstractEventLoop, scope: Any, protocol: Any, body: bytes) -> None:
        """Runs in a thread: WSGI has no other way. Answers through the loop, from which alone the protocol may be used."""
        head: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> None:
            head[:] = [int(status.split(" ", 1)[0]), [(name.lower(), value) for name, value in headers]]

        result: Iterable[bytes] = ()
        try:
            result = self._django()(environ(scope, body), start_response)
            _Sender(loop, scope.method, protocol, head).send(result)
        except Exception:  # Django answers its own errors; this is about the bridge, and a request must always end
            logger.exception("front.failed")
            if not head or head[-1] != "sent":
                loop.call_soon_threadsafe(protocol.response_bytes, 500, _TEXT, b"Internal error.\n")
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()


class _Refused(Exception):
    answer: tuple[int, bytes]


class _TooLarge(_Refused):
    answer = (413, b"The form is too large.\n")


class _Broken(_Refused):
    answer = (400, b"The request ended before it was complete.\n")


class _Sender:
    """Sends one answer of Django: small ones at once, large or endless ones in pieces, as fast as the client reads."""

    def __init__(self, loop: asyncio.AbstractEventLoop, method: str, protocol: Any, head: list[Any]) -> None:
        self._loop = loop
        self._bare = method == "HEAD"
        self._protocol = protocol
        self._head = head

    def send(self, result: Iterable[bytes]) -> None:
        parts: list[bytes] = []
        size = 0
        transport = None
        streaming = getattr(result, "streaming", False)
        for part in () if self._bare else result:
            if transport is None and (streaming or size + len(part) > _LARGEST_HELD):
                transport = self._run(self._open())
                for early in parts:
                    self._run(transport.send_bytes(early))
                parts.clear()
            if transport is not None:
                for at in range(0, len(part), _PIECE):
                    self._run(transport.send_bytes(part[at : at + _PIECE]))
            else:
                parts.append(part)
                size += len(part)
        if transport is None:
            self._loop.call_soon_threadsafe(self._protocol.response_bytes, self._head[0], self._head[1], b"".join(parts))
            self._head.append("sent")

    async def _open(self) -> Any:
        transport = self._protocol.response_stream(self._head[0], self._head[1])
        self._head.append("sent")
        return transport

    def _run(self, awaitable: Any) -> Any:
        async def wait() -> Any:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(wait(), self._loop).result(timeout=60)


def is_ingest(method: str, path: str, content_type: str | None) -> bool:
    """Whatever an exporter may send here, be its path misspelt: ingest answers it, in OTLP's form.

    A page could answer with a redirect to the login, which exporters count as success: the batch would be gone without a word.
    """
    if path.startswith("/v1/") or path == "/v1" or (method == "POST" and path.rstrip("/") == receive.REST_PATH):
        return True
    media = receive.media_of(content_type)
    return media == outcome.PROTOBUF or (method == "POST" and media == outcome.JSON and not path.startswith("/api/"))


def environ(scope: Any, body: bytes) -> dict[str, Any]:
    """PEP 3333. Of the headers nothing is believed: who the client is says the connection."""
    host, _, port = scope.server.rpartition(":")
    variables: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode().decode("latin-1"),  # Granian has decoded it once; twice would be another path
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": host.strip("[]") or "localhost",
        "SERVER_PORT": port or "80",
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if scope.authority:
        variables["HTTP_HOST"] = scope.authority
    for name, value in scope.headers.items():
        if name == "content-type":
            variables["CONTENT_TYPE"] = value
        elif name not in ("content-length", "transfer-encoding") and "_" not in name:  # a_b and a-b would be the same variable
            variable = f"HTTP_{name.upper().replace('-', '_')}"
            joined = "; " if name == "cookie" else ","
            variables[variable] = f"{variables[variable]}{joined}{value}" if variable in variables and name != "host" else value
    return variables


def main() -> None:
    server.serve("web", Front, conf.get("AUDITLOG_HTTP"), 1)


if __name__ == "__main__":
    main()
