"""Owns the running service that the tests of a service as a whole share, and the backend that gets its telemetry."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.platform.backend import Backend
from tests.service import Service


@pytest.fixture(scope="package")
def backend() -> Iterator[Backend]:
    backend = Backend()
    yield backend
    backend.close()


@pytest.fixture(scope="package")
def service(backend: Backend) -> Iterator[Service]:
    """With the demo in its project; tests that send use a project of their own."""
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_METRIC_EXPORT_INTERVAL": "1000", "OTEL_BSP_SCHEDULE_DELAY": "200"}
    service = Service(demo=True, **settings)
    try:
        yield service.start()
    finally:
        service.remove()
