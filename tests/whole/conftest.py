"""Owns one running service for all tests that look at the whole: from the port to the read API, nothing replaced."""

from collections.abc import Iterator

import pytest

from tests.service import Service


@pytest.fixture(scope="session")
def whole() -> Iterator[Service]:
    service = Service()
    try:
        yield service.start()
    finally:
        service.remove()
