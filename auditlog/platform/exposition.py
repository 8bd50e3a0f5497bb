"""Owns how one page shows the metrics of all processes: each answers on a socket in AUDITLOG_DATA/metrics when it is asked, for itself.

Nothing is written while nobody asks, and what is shown is of that moment. A process that has ended refuses the connection and is not
shown; one that hangs is shown as not up. https://prometheus.io/docs/instrumenting/exposition_formats/ is the form.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from auditlog.metrics import METRICS, SCOPE, Metric

logger = logging.getLogger(__name__)

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_ANSWER_WITHIN: Final = 3.0  # seconds; a process that takes longer to count is stuck
_UNITS: Final = {"s": "seconds", "By": "bytes"}
_UP: Final = METRICS["auditlog.process.up"]


class Answer(NamedTuple):
    """What one process said. points: by metric, its attributes and a number, or the parts of a histogram; None: it did not answer."""

    process: str
    points: list[tuple[str, dict[str, str], Any]] | None


# --- each process ---------------------------------------------------------------------------------------------------------------


def serve(folder: Path, name: str, reader: InMemoryMetricReader) -> None:
    """Answers whoever connects with the metrics of this process, in a thread of its own, until the process ends."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _inside(folder, f"{name}.sock") as path:
            Path(path).unlink(missing_ok=True)  # of a process that was killed; the caller holds the name's lock
            listener.bind(path)
        listener.listen(8)
    except OSError as error:
        logger.warning("telemetry.not_shown", extra={"error_kind": type(error).__name__})
        return
    threading.Thread(target=_answer, args=(listener, reader), name="metrics", daemon=True).start()


@contextmanager
def _inside(folder: Path, name: str) -> Iterator[str]:
    """A path of a socket that is short however deep the folder is: the kernel takes 107 bytes."""
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{place}/{name}"
    finally:
        os.close(place)


def _answer(listener: socket.socket, reader: InMemoryMetricReader) -> None:
    while True:
        try:
            client, _ = listener.accept()
            with client:
                client.settimeout(_ANSWER_WITHIN)
                data = reader.get_metrics_data()
                client.sendall(data.to_json(indent=None).encode() if data else b"{}")
        except OSError:
            pass  # who asked has gone
        except Exception:  # whatever one gauge raises, the next question is answered
            logger.exception("telemetry.not_read")


# --- the one that shows them ----------------------------------------------------------------------------------------------------


def gather(folder: Path) -> list[Answer]:
    """What every living process says now."""
    found = []
    for path in sorted(folder.glob("*.sock")):
        try:
            found.append(Answer(path.stem, list(_points(json.loads(_ask(folder, path.name))))))
        except (ConnectionRefusedError, FileNotFoundError):
            continue  # it has ended
        except (OSError, ValueError):
            found.append(Answer(path.stem, None))
    return found


def _ask(folder: Path, name: str) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client, _inside(folder, name) as path:
        client.settimeout(_ANSWER_WITHIN)
        client.connect(path)
        parts = []
        while part := client.recv(65536):
            parts.append(part)
    return b"".join(parts)


def _points(told: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str], Any]]:
    for resource in told.get("resource_metrics", ()):
        for scope in resource["scope_metrics"]:
            if scope["scope"]["name"] == SCOPE:
                for metric in scope["metrics"]:
                    for point in metric["data"]["data_points"]:
                        yield metric["name"], point["attributes"], point if "bucket_counts" in point else point["value"]


def text(answers: Iterable[Answer]) -> str:
    """Prometheus text: metrics in the order of `auditlog.metrics`, of each those of every process."""
    lines: defaultdict[str, list[str]] = defaultdict(list)
    for answer in answers:
        mine = {"process": answer.process}
        lines[_UP.name].append(_sample(name_of(_UP), mine, int(answer.points is not None)))
        for name, attributes, value in answer.points or ():
            if name in METRICS:
                lines[name] += _samples(METRICS[name], {**attributes, **mine}, value)
    out = []
    for metric in METRICS.values():
        if metric.name in lines:
            out += [f"# HELP {name_of(metric)} {metric.doc}", f"# TYPE {name_of(metric)} {metric.kind}", *lines[metric.name]]
    return "\n".join(out) + "\n"


def name_of(metric: Metric) -> str:
    """As OpenTelemetry translates it: `auditlog.ingest.body.size` in By, a counter, is auditlog_ingest_body_size_bytes_total."""
    parts = [metric.name.replace(".", "_"), *([_UNITS[metric.unit]] if metric.unit in _UNITS else ())]
    return "_".join([*parts, "total"] if metric.kind == "counter" else parts)


def _samples(metric: Metric, labels: Mapping[str, str], value: Any) -> list[str]:
    name = name_of(metric)
    if metric.kind != "histogram":
        return [_sample(name, labels, value)]
    bounds = [*map(str, value["explicit_bounds"]), "+Inf"]
    counts = value["bucket_counts"]
    buckets = [_sample(f"{name}_bucket", {**labels, "le": bound}, sum(counts[: n + 1])) for n, bound in enumerate(bounds)]
    return [*buckets, _sample(f"{name}_sum", labels, value["sum"]), _sample(f"{name}_count", labels, value["count"])]


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    told = ",".join(f'{key.replace(".", "_")}="{_escaped(str(labels[key]))}"' for key in sorted(labels))
    return f"{name}{{{told}}} {value}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
