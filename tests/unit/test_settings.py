"""Owns the checks of settings that tests replace by cheaper ones."""

from __future__ import annotations

from auditlog import settings


def test_passwords_are_hashed_by_argon2_and_nothing_else() -> None:
    assert settings.PASSWORD_HASHERS == ["django.contrib.auth.hashers.Argon2PasswordHasher"]
