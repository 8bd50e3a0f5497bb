"""Owns that one page shows every living process for itself: what it says now, that it hangs, or nothing once it has ended."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from auditlog import conf
from auditlog.platform import exposition, telemetry
from auditlog.platform.exposition import Answer

PROCESS = """
import sys
from pathlib import Path
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from auditlog.metrics import SCOPE
from auditlog.platform import exposition, telemetry
folder = Path(sys.argv[1])
number = telemetry.claim(folder, "ingest")
reader = InMemoryMetricReader()
meter = MeterProvider([reader], shutdown_on_exit=False).get_meter(SCOPE)
meter.create_counter("auditlog.ingest.requests").add(41 + number, {"transport": "rest"})
exposition.serve(folder, f"ingest-{number}", reader)
print(number, flush=True)
sys.stdin.read()
"""


@contextmanager
def process(folder: Path) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A process with metrics, and the number that it took."""
    child = subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(folder)], cwd=conf.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        yield int(child.stdout.readline()), child
    finally:
        child.kill()
        child.communicate()


def requests(folder: Path) -> dict[str, int]:
    text = exposition.text(exposition.gather(folder))
    return {name: int(count) for name, count in re.findall(r'^auditlog_ingest_requests_total\{process="(.*?)",.*\} (\d+)$', text, re.M)}


def test_each_process_has_a_number_of_its_own_and_takes_the_lowest_that_is_free(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 40) / "metrics"  # longer than the path of a socket may be
    with process(folder) as (first, child), process(folder) as (second, _):
        assert (first, second) == (0, 1)
        assert requests(folder) == {"ingest-0": 41, "ingest-1": 42}
        child.kill()
        child.wait()
        assert requests(folder) == {"ingest-1": 42}
        assert [answer.process for answer in exposition.gather(folder)] == ["ingest-1"], "who has ended is not shown, not even as hanging"
        with process(folder) as (third, _):
            assert third == 0
            assert requests(folder) == {"ingest-0": 41, "ingest-1": 42}


def test_a_process_that_does_not_answer_is_shown_as_not_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "_ANSWER_WITHIN", 0.05)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "stuck-0.sock"))
        listener.listen()
        assert 'auditlog_process_up{process="stuck-0"} 0' in exposition.text(exposition.gather(tmp_path))


def test_a_failure_is_no_answer_and_the_next_question_is_answered(tmp_path: Path) -> None:
    class FailsOnce(InMemoryMetricReader):
        failed = False

        def get_metrics_data(self) -> None:
            if not self.failed:
                self.failed = True
                raise ValueError

    exposition.serve(tmp_path, "web-0", FailsOnce())
    assert [exposition.gather(tmp_path) for _ in range(2)] == [[Answer("web-0", None)], [Answer("web-0", [])]]


def test_a_folder_that_cannot_be_written_costs_the_page_and_not_the_service(tmp_path: Path) -> None:
    (tmp_path / "metrics").write_text("a file")
    assert telemetry.claim(tmp_path / "metrics", "web") is None


def test_buckets_add_up_and_labels_are_escaped() -> None:
    point = {"explicit_bounds": [0.5, 1.0], "bucket_counts": [2, 0, 3], "sum": 9.5, "count": 5}
    text = exposition.text([Answer('we"b\\', [("auditlog.ingest.commit.duration", {"transport": "rest"}, point)])])
    name = "auditlog_ingest_commit_duration_seconds"
    assert text.splitlines()[2:7] == [
        rf'{name}_bucket{{le="0.5",process="we\"b\\",transport="rest"}} 2',
        rf'{name}_bucket{{le="1.0",process="we\"b\\",transport="rest"}} 2',
        rf'{name}_bucket{{le="+Inf",process="we\"b\\",transport="rest"}} 5',
        rf'{name}_sum{{process="we\"b\\",transport="rest"}} 9.5',
        rf'{name}_count{{process="we\"b\\",transport="rest"}} 5',
    ]
