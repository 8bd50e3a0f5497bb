"""Owns the checks of the numbers of buckets."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from auditlog.errors import Problem
from auditlog.store.partitions import bucket_at


@pytest.mark.parametrize("period", ["day", "month"])
def test_each_class_has_buckets_of_its_own_and_a_clock_before_the_first_is_refused(period: str) -> None:
    first = datetime(2020, 1, 1, tzinfo=UTC)
    assert [bucket_at(number, period, first).number for number in (1, 2)] == [1 << 16, 2 << 16]
    for number in (1, 2):
        with pytest.raises(Problem, match="clock says 1970-01-01") as caught:
            bucket_at(number, period, datetime(1970, 1, 1, tzinfo=UTC))
        assert caught.value.code == "store_unavailable"
