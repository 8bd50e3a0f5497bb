"""Owns the check that arrays written by us are what PostgreSQL takes them for."""

from typing import Any

import psycopg
import pytest

from auditlog.store import arrays
from auditlog.store.arrays import Byteas, Integers, Smallints

pytestmark = pytest.mark.django_db  # only so that pytest-django makes the database


@pytest.mark.parametrize("elements", [[], [b""], [b"a", b"\0" * 3, b"x" * 100_000, b"a"]])
def test_bytes_arrive_as_they_are(owner: psycopg.Connection[Any], elements: list[bytes]) -> None:
    arrays.register(owner)
    assert owner.execute("SELECT %b", (Byteas(elements),)).fetchone() == (elements,)


@pytest.mark.parametrize("elements", [[], [0], [1, -1, 32_767, -32_768]])
def test_numbers_arrive_as_they_are(owner: psycopg.Connection[Any], elements: list[int]) -> None:
    arrays.register(owner)
    assert owner.execute("SELECT %b", (Smallints(elements),)).fetchone() == (elements,)
    larger = [element * 65_536 for element in elements]
    assert owner.execute("SELECT %b", (Integers(larger),)).fetchone() == (larger,)


def test_they_stand_beside_those_of_psycopg_in_one_statement(owner: psycopg.Connection[Any]) -> None:
    arrays.register(owner)
    sql = "SELECT %b, k, n, m FROM unnest(%b::bytea[], %b::smallint[], %b::text[]) AS t (k, n, m)"
    found = owner.execute(sql, (7, Byteas([b"p", b"q"]), Smallints([1, 2]), ["a", "b"])).fetchall()
    assert found == [(7, b"p", 1, "a"), (7, b"q", 2, "b")]
