"""Owns the promises of `make run`: one service with the demo, killed piece by piece and as a whole, started again."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from urllib.error import HTTPError

import psutil
import pytest

from auditlog.demo import build
from tests.platform.test_supervisor import eventually
from tests.service import ROOT, Service


def sessions(service: Service) -> set[str]:
    service.settle()
    return {row["session_id"] for row in service.get("/api/v1/sessions")["results"]}


def test_the_first_start_writes_login_and_keys_for_its_owner_only(service: Service) -> None:
    file = service.data / "first-run.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    facts = service.first_run
    assert set(facts) == {"url", "otlp_http", "otlp_grpc", "username", "password", "project", "ingest_key", "read_key"}
    assert facts["otlp_http"] == f"http://127.0.0.1:{service.otlp}"
    eventually(lambda: facts["password"] in service.log.read_text())


def test_the_demo_is_a_dozen_sessions_of_several_customers_the_400_dollars_among_them(service: Service) -> None:
    eventually(lambda: not (service.data / "demo-wanted").exists())
    assert len(sessions(service)) == len(build.WANTED) + 2
    for customer in {"ACME-2024", "NORDWIND-4471", *(wanted.customer for wanted in build.WANTED)}:
        assert service.get(f"/api/v1/sessions?customer_id={customer}")["results"], customer


@pytest.mark.parametrize("role", ["web", "otlp-http", "otlp-grpc", "derive", "sealer", "postgres"])
def test_each_process_that_is_killed_is_started_again_and_everything_serves(service: Service, role: str) -> None:
    before = service.pid(role)
    assert before is not None
    assert service.kill(role)
    eventually(lambda: service.pid(role) not in (None, before))
    service.wait_ready()
    eventually(lambda: listed(service))


def listed(service: Service) -> bool:
    """Whether sessions are listed. 503 for a moment is right: a connection that was open when PostgreSQL died is noticed by asking."""
    try:
        return bool(service.get("/api/v1/sessions")["results"])
    except HTTPError as error:
        assert error.code == 503
        return False


def test_a_second_start_on_the_same_ports_is_refused_and_says_which_setting(service: Service) -> None:
    second = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "serve"], cwd=ROOT, env=service.env, capture_output=True, text=True, timeout=60
    )
    assert second.returncode == 1
    assert f"AUDITLOG_HTTP=127.0.0.1:{service.http} cannot be used" in second.stderr
    assert service.ready()


def test_ctrl_c_ends_everything_and_a_second_start_finds_the_data_and_the_same_keys(service: Service) -> None:
    facts, known, left = service.first_run, sessions(service), service.processes()
    assert service.stop(signal.SIGINT) == 0
    assert len(left) > 8
    assert not [process for process in left if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    service.start()
    assert service.first_run == facts
    assert sessions(service) == known


def test_nothing_survives_a_killed_supervisor_and_the_next_start_finds_the_data(service: Service) -> None:
    known, left = sessions(service), service.processes()
    assert service.process is not None
    os.kill(service.process.pid, signal.SIGKILL)
    service.process.wait()
    assert psutil.wait_procs(left, timeout=20)[1] == []
    for port in (service.http, service.otlp, service.grpc):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that are closing are allowed, listeners are not
            probe.bind(("127.0.0.1", port))
            probe.listen()
    service.start()
    assert sessions(service) == known
