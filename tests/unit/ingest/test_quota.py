"""Owns what a key's quota allows, by a clock that the test moves."""

from __future__ import annotations

import pytest

from auditlog.errors import Problem
from auditlog.ingest.quota import AVERAGED, Quotas


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def refusal(quotas: Quotas, key: int = 1) -> Problem | None:
    try:
        quotas.check(key)
    except Problem as problem:
        return problem
    return None


def test_without_a_setting_there_is_no_quota(clock: Clock) -> None:
    quotas = Quotas(clock)
    quotas.charge(1, 10**9, 10**12)
    assert refusal(quotas) is None


def test_a_key_that_sends_what_its_quota_allows_is_never_refused(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setenv("AUDITLOG_QUOTA_ITEMS", "100")
    quotas = Quotas(clock)
    for _ in range(50):
        assert refusal(quotas) is None
        quotas.charge(1, 500, 0)  # an exporter sends every five seconds what it has gathered
        clock.now += 5


def test_more_than_the_quota_is_refused_until_it_is_paid_off(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setenv("AUDITLOG_QUOTA_ITEMS", "100")
    quotas = Quotas(clock)
    quotas.charge(1, 100 * AVERAGED, 0)
    assert refusal(quotas) is None  # ten seconds' worth is free
    quotas.charge(1, 150, 0)
    problem = refusal(quotas)
    assert problem is not None
    assert (problem.code, problem.kind.http, problem.kind.grpc, problem.retry_after) == ("quota_exceeded", 429, 8, 2)
    assert "100 items a second" in problem.message and "AUDITLOG_QUOTA_ITEMS" in problem.message
    assert problem.detail == {"quota": "items", "per_second": 100}
    assert refusal(quotas, key=2) is None  # another key pays for itself
    clock.now += 1.5
    assert refusal(quotas) is None


def test_bytes_have_a_quota_of_their_own_and_nobody_is_told_to_wait_longer_than_three_seconds(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setenv("AUDITLOG_QUOTA_BYTES", "1000")
    quotas = Quotas(clock)
    quotas.charge(1, 10**6, 0)
    assert refusal(quotas) is None
    quotas.charge(1, 1, 10**6)
    problem = refusal(quotas)
    assert problem is not None and problem.retry_after == 3 and problem.detail["quota"] == "bytes"
    clock.now += 10**6 / 1000 - AVERAGED
    assert refusal(quotas) is None
