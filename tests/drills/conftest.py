"""Owns the service that drills are made on: one per drill, because each leaves it killed."""

from collections.abc import Iterator

import pytest

from tests.service import Service


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    try:
        yield service.start()
    finally:
        service.remove()
