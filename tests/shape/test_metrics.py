"""Owns that the reference of metrics lists exactly those of the code, and that none can grow without bound or name a person."""

from __future__ import annotations

import re

import pytest

from auditlog.metrics import METRICS, Metric
from auditlog.platform.exposition import name_of
from tests.pages import ROOT

ROW = re.compile(r"^\| `([a-z_.]+)` \| (\w+) \| (\S+) \| (.*?) ?\| `(\w+)` \| (.+) \|$", re.M)
# What an attribute may be: each has a handful of values that stand in the code.
BOUNDED = {"outcome", "transport", "error.type", "what", "cache", "result"}


def test_the_reference_lists_every_metric_as_it_is_defined_and_no_other() -> None:
    listed = [
        (Metric(name, kind, unit, tuple(re.findall(r"`([^`]+)`", attributes)), doc), shown)
        for name, kind, unit, attributes, shown, doc in ROW.findall((ROOT / "docs/reference/metrics.md").read_text())
    ]
    assert listed == [(metric, name_of(metric)) for metric in METRICS.values()]


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
def test_a_metric_is_named_by_the_conventions_and_its_attributes_are_bounded(metric: Metric) -> None:
    assert re.fullmatch(r"auditlog(\.[a-z]+)+", metric.name)
    assert metric.unit in ("s", "By", "1") or re.fullmatch(r"\{[a-z]+\}", metric.unit)
    assert not metric.name.endswith((".total", ".seconds", ".bytes")), "the unit is a field of its own"
    assert set(metric.attributes) <= BOUNDED
