"""Owns the connections of the store's tests: the owner's for looking and forging, the ingest role's for writing."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from auditlog.store.connect import connect


@pytest.fixture(scope="session")
def migrated(django_db_setup: None) -> None:
    """A migrated database; the store's own connections commit, so nothing here is rolled back."""


@pytest.fixture
def owner(migrated: None) -> Iterator[psycopg.Connection[Any]]:
    with connect("owner") as connection:
        yield connection


@pytest.fixture
def ingest(migrated: None) -> Callable[[], psycopg.Connection[Any]]:
    return lambda: connect("ingest")
