"""Owns what `docs/concepts.md` says of files of the data folder that are lost: what still works, what does not, and what mends it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.service import Service

EVENT = {"kind": "message", "at": "2026-03-01T10:00:00Z", "session_id": "kept", "output": [{"role": "assistant", "content": "word " * 400}]}


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    try:
        yield service.start()
    finally:
        service.remove()


def send(service: Service, key: str) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{service.otlp}/api/v1/events",
        data=json.dumps({"events": [EVENT]}).encode(),
        headers={"x-api-key": key, "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


def text(service: Service, key: str) -> str:
    (found,) = service.get("/api/v1/sessions?session_id=kept", key)["results"]
    return str(service.get(f"/api/v1/sessions/{found['key']}/timeline", key)["steps"][0]["text"])


def test_without_the_master_key_nothing_is_stored_or_shown_and_with_it_all_is_again_as_before(service: Service) -> None:
    run = service.first_run
    assert send(service, run["ingest_key"])[0] == 200
    service.settle()
    assert service.stop() == 0
    kept = {name: (service.data / name).read_bytes() for name in ("master.key", "django.key", "first-run.json")}
    for name in kept:
        (service.data / name).unlink()

    service.start()
    status, answer = send(service, run["ingest_key"])
    assert (status, answer["error"]["code"]) == (503, "internal")
    with pytest.raises(urllib.error.HTTPError) as refused:
        text(service, run["read_key"])
    refused.value.close()
    assert refused.value.code == 503
    assert "master.key in AUDITLOG_DATA is not the one" in (service.data / "logs" / "web.log").read_text()
    assert not (service.data / "first-run.json").exists(), "nobody can write it again: only digests of the keys are stored"
    assert service.stop() == 0

    (service.data / "master.key").write_bytes(kept["master.key"])
    service.start()  # neither of the other two is needed for anything that is stored
    assert text(service, run["read_key"]) == "word " * 400
    status, answer = send(service, run["ingest_key"])
    assert (status, answer["accepted"], answer["duplicates"]) == (200, 0, 1)
