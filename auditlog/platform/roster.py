"""Owns which processes make up the service: the command of each, how one knows that it serves, and its environment."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from typing import Final, NamedTuple

from auditlog import conf

LISTENERS: Final = ("AUDITLOG_HTTP", "AUDITLOG_OTLP_HTTP", "AUDITLOG_OTLP_GRPC")

# Long-lived processes that decode requests of megabytes: without these glibc keeps an arena per thread and returns and
# asks for the same pages again and again: that is half of a request's page faults and 7 % of its CPU (docs/bench).
MALLOC: Final = {"MALLOC_ARENA_MAX": "2", "MALLOC_TRIM_THRESHOLD_": "268435456", "MALLOC_MMAP_THRESHOLD_": "67108864"}


class Role(NamedTuple):
    """One process. `port`: the setting of its address, None for those that say themselves when they serve."""

    name: str
    command: tuple[str, ...]
    port: str | None = None
    first_to_stop: bool = True  # takes requests from outside; the others finish what those have begun
    env: Mapping[str, str] = {}


def roles() -> list[Role]:
    python = sys.executable
    manage = str(conf.ROOT / "manage.py")
    celery = (python, "-m", "celery", "-A", "auditlog.celery")
    return [
        Role("otlp-http", (python, "-m", "auditlog.ingest.otlp_http"), "AUDITLOG_OTLP_HTTP", env=MALLOC),
        Role("otlp-grpc", (python, "-m", "auditlog.ingest.otlp_grpc"), "AUDITLOG_OTLP_GRPC", env=MALLOC),
        Role("web", (python, "-m", "auditlog.front"), "AUDITLOG_HTTP", env=MALLOC),
        Role("derive", (python, manage, "derive"), first_to_stop=False),
        Role("sealer", (python, manage, "seal"), first_to_stop=False),
        Role(
            "worker",
            (*celery, "worker", "--loglevel", "INFO", "--without-gossip", "--without-mingle", "--without-heartbeat"),
            first_to_stop=False,
        ),
        Role("beat", (*celery, "beat", "--loglevel", "WARNING")),
    ]


def accepts(name: str) -> bool:
    """Whether something listens at the address of this setting."""
    host, port = conf.get(name)
    try:
        socket.create_connection((reached(host), port), timeout=0.5).close()
    except OSError:
        return False
    return True


def reached(host: str) -> str:
    """The address under which a process listening on `host` is reached from its own machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def taken() -> list[str]:
    """A line for each address that cannot be listened on.

    Asked before anything starts: a second server on a port that allows sharing would start without a word and the two
    would divide the traffic.
    """
    lines = []
    for name in LISTENERS:
        host, port = conf.get(name)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free
            try:
                probe.bind((host, port))
                probe.listen(1)
            except OSError as error:
                lines.append(f"{name}={host}:{port} cannot be used: {os.strerror(error.errno or 0)}. Stop what uses it, or set {name}.")
    return lines
