"""Owns where telemetry of the service itself is sent: what the standard variables say, and that it is never to Auditlog.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/ has the variables. Off unless one of them names an endpoint or an exporter.
"""

from __future__ import annotations

import os
import socket
import ssl
import urllib.error
import urllib.request
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from opentelemetry.util.re import parse_env_headers

from auditlog import conf, own
from auditlog.platform.roster import LISTENERS

SIGNALS: Final = ("metrics", "traces")
PROTOCOLS: Final = ("http/protobuf", "grpc")
_ANSWER_WITHIN: Final = 2.0  # seconds that a backend has to say what it is
_TRACES: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1", "[::1]")


def _of(signal: str, name: str) -> str:
    """The variable that decides: the signal's own, else that of all signals."""
    special = f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}"
    return special if os.environ.get(special) else f"OTEL_EXPORTER_OTLP_{name}"


class Target(NamedTuple):
    """One signal and where it goes. url: as it is asked, with its path over HTTP; variable: who said so."""

    signal: str
    protocol: str
    url: str
    variable: str

    def headers(self) -> dict[str, str]:
        """What the variables say, and the mark."""
        return {**parse_env_headers(os.environ.get(_of(self.signal, "HEADERS"), ""), liberal=True), own.HEADER: "1"}

    def is_here(self) -> bool:
        """Whether this is an address of the service, as far as its settings say: a listener, or a public host name."""
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        listeners = [conf.get(name) for name in LISTENERS]
        if any(port == listening and _same(host, address) for address, listening in listeners):
            return True
        public = {name.lower().lstrip(".") for name in conf.get("AUDITLOG_ALLOWED_HOSTS")} - {*_LOOPBACK, "*"}
        return host.lower() in public and port in (80, 443, *(listening for _, listening in listeners))

    def is_auditlog(self) -> bool:
        """Whether what answers there is of our kind. Sends the mark and nothing else; no answer is no."""
        return self._grpc_answers() if self.protocol == "grpc" else self._http_answers()

    def _http_answers(self) -> bool:
        headers = {own.HEADER: "1", "Content-Type": "application/x-protobuf"}
        request = urllib.request.Request(self.url, b"", headers, method="POST")
        unverified = ssl.create_default_context()
        unverified.check_hostname = False  # nothing secret is sent, and the exporter itself verifies as its variables say
        unverified.verify_mode = ssl.CERT_NONE
        try:
            urllib.request.urlopen(request, timeout=_ANSWER_WITHIN, context=unverified).close()
        except urllib.error.HTTPError as error:
            with error:
                return own.CODE.encode() in error.read(4096)
        except (OSError, ValueError):
            pass  # not there, not now, or not HTTP
        return False

    def _grpc_answers(self) -> bool:
        import grpc  # takes its time, and most processes do without

        parts = urlsplit(self.url)
        if parts.scheme == "https":
            opened = grpc.secure_channel(parts.netloc, grpc.ssl_channel_credentials())
        else:
            opened = grpc.insecure_channel(parts.netloc)
        with opened as channel:
            try:
                channel.unary_unary(_TRACES)(b"", timeout=_ANSWER_WITHIN, metadata=((own.HEADER, "1"),))
            except grpc.RpcError as error:
                return own.CODE in (error.details() or "")
        return False


def disabled() -> bool:
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def wanted() -> list[Target]:
    """Where each signal is to go; none by default. Raises SettingError: a value that cannot be read."""
    return [] if disabled() else [target for signal in SIGNALS if (target := _target(signal)) is not None]


def refusal(target: Target) -> str:
    return (
        f"{target.variable} sends the {target.signal} of Auditlog itself to {target.url}, which is Auditlog: it would fill itself. "
        f"So they are not sent. Unset it for the service, set it to another backend, or set OTEL_{target.signal.upper()}_EXPORTER=none."
    )


def _target(signal: str) -> Target | None:
    choice = f"OTEL_{signal.upper()}_EXPORTER"
    exporters = {name.strip() for name in os.environ.get(choice, "").split(",")} - {""}
    if unknown := exporters - {"otlp", "none", "prometheus"}:
        raise conf.SettingError(f"{choice}={os.environ[choice]!r} is not possible: {unknown.pop()!r} is neither otlp nor none.")
    variable = _of(signal, "ENDPOINT")
    endpoint = os.environ.get(variable, "")
    if "otlp" not in exporters and (exporters or not endpoint):
        return None
    of_protocol = _of(signal, "PROTOCOL")
    protocol = os.environ.get(of_protocol) or PROTOCOLS[0]
    if protocol not in PROTOCOLS:
        raise conf.SettingError(f"{of_protocol}={protocol!r} is not possible; set {' or '.join(PROTOCOLS)}.")
    if not endpoint:
        variable, endpoint = choice, "http://localhost:4317" if protocol == "grpc" else "http://localhost:4318"
    if "://" not in endpoint and protocol == "grpc":
        endpoint = f"{'http' if os.environ.get(_of(signal, 'INSECURE'), '').lower() == 'true' else 'https'}://{endpoint}"
    if urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).hostname:
        raise conf.SettingError(f"{variable}={endpoint!r} cannot be read: it must be a URL, for instance http://collector:4318.")
    if protocol != "grpc" and not variable.startswith(f"OTEL_EXPORTER_OTLP_{signal.upper()}"):
        endpoint = f"{endpoint.rstrip('/')}/v1/{signal}"
    return Target(signal, protocol, endpoint, variable)


def _same(host: str, listening: str) -> bool:
    """Whether a host name leads to an address that is listened on."""
    there = _addresses(host)
    if listening in ("0.0.0.0", "::"):
        return any(_is_local(address) for address in there)
    return bool(there & _addresses(listening))


def _addresses(host: str) -> set[str]:
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)}
    except OSError:
        return set()
    return {{"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address) for address in found}


def _is_local(address: str) -> bool:
    """Whether this machine has the address: only then can it be bound."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
