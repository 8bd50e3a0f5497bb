"""Owns the promises of `auditlog.secrets`: what is wrapped opens with the same master key only, and files are private."""

import os
import threading
from pathlib import Path

import pytest

from auditlog import conf, secrets


def test_a_wrapped_secret_opens_with_the_key_it_was_wrapped_with() -> None:
    secret = secrets.new_project_secret()
    wrapped = secrets.wrap(secret, b"k" * 32)
    assert secret not in wrapped
    assert secrets.unwrap(wrapped, b"k" * 32) == secret


def test_the_same_secret_is_wrapped_differently_each_time() -> None:
    assert secrets.wrap(b"s" * 32, b"k" * 32) != secrets.wrap(b"s" * 32, b"k" * 32)


def test_another_master_key_does_not_open_it_and_the_message_says_what_to_restore() -> None:
    with pytest.raises(conf.SettingError, match=r"master\.key"):
        secrets.unwrap(secrets.wrap(b"s" * 32, b"k" * 32), b"x" * 32)


def test_a_changed_byte_does_not_open() -> None:
    wrapped = bytearray(secrets.wrap(b"s" * 32, b"k" * 32))
    wrapped[-1] ^= 1
    with pytest.raises(conf.SettingError):
        secrets.unwrap(bytes(wrapped), b"k" * 32)


def test_an_unknown_form_is_named_as_one() -> None:
    with pytest.raises(conf.SettingError, match="does not know"):
        secrets.unwrap(b"\x07" + b"x" * 60, b"k" * 32)


def test_a_private_file_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    assert secrets.private_file(path, b"first") == b"first"
    assert secrets.private_file(path, b"second") == b"first"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_file_that_others_may_read_is_refused_with_the_command_that_mends_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    secrets.private_file(path, b"x")
    path.chmod(0o644)
    with pytest.raises(conf.SettingError, match="chmod 600"):
        secrets.private_file(path, b"x")


def test_of_many_who_make_a_file_at_once_one_wins_and_all_read_the_same(tmp_path: Path) -> None:
    path, seen, barrier = tmp_path / "file", [], threading.Barrier(8)

    def make(number: int) -> None:
        barrier.wait()
        seen.append(secrets.private_file(path, f"{number}".encode() * 1000))

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8
    assert set(seen) == {path.read_bytes()}


def test_a_master_key_of_the_wrong_length_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITLOG_DATA", str(tmp_path))
    secrets.private_file(tmp_path / secrets.MASTER_KEY, os.urandom(16))
    with pytest.raises(conf.SettingError, match="16 bytes"):
        secrets.master_key()
