"""Owns the fixtures of the pass's tests (tests/db/derived.py makes them)."""

from tests.db.derived import bench, owner

__all__ = ["bench", "owner"]
