"""Owns the export that comes back: that of the tests of exports, sealed by a log of this package's own."""

from tests.db.sealed.conftest import folder, stood

__all__ = ["folder", "stood"]
