"""Owns the promises of the embedded PostgreSQL: which binaries, which user, which folder, and one server per data folder."""

from __future__ import annotations

import os
import pwd
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from auditlog.platform import embedded, postgres, process
from auditlog.platform.embedded import Embedded
from auditlog.platform.postgres import Installation, PostgresError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(parent.stat().st_mode | 0o011)  # as root, PostgreSQL's user must pass
    return tmp_path / "data"


@pytest.fixture
def server(folder: Path) -> Iterator[Embedded]:
    made = Embedded(folder)
    yield made
    made.stop()


def test_it_is_a_real_postgresql_with_checksums_and_fsync_and_no_tcp(server: Embedded) -> None:
    assert server.start()
    with psycopg.connect(server.url) as connection:
        for name, value in (("data_checksums", "on"), ("fsync", "on"), ("full_page_writes", "on"), ("listen_addresses", "")):
            assert connection.execute("SELECT current_setting(%s)", (name,)).fetchone() == (value,)
        assert connection.execute("SELECT lower('ÄÖÜ')").fetchone() == ("äöü",)
        connection.execute("CREATE EXTENSION pg_trgm")


def test_it_does_not_run_as_root(server: Embedded) -> None:
    server.start()
    assert server.child is not None
    assert Path(f"/proc/{server.child.pid}").stat().st_uid != 0


def test_nobody_gets_in_without_the_password(server: Embedded) -> None:
    server.start()
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(host=str(server.socket_folder()), user=embedded.USER, dbname=embedded.DATABASE, password="guess").close()


def test_the_socket_has_a_short_path_however_long_the_folder_is_and_keeps_it(folder: Path) -> None:
    server = Embedded(folder / ("long" * 30))
    path = server.socket_folder()
    assert len(f"{path}/.s.PGSQL.5432") < 60
    assert Embedded(folder / ("long" * 30)).socket_folder() == path
    path.rmdir()  # what a restart of the machine does
    assert server.socket_folder() == path
    path.rmdir()


def test_of_two_starts_at_once_one_runs_it_and_the_other_uses_it(folder: Path) -> None:
    servers = [Embedded(folder), Embedded(folder)]
    answers: list[bool] = []
    release = threading.Event()

    def start(server: Embedded) -> None:
        answers.append(server.start())
        release.wait(60)  # the server ends with the thread that started it

    threads = [threading.Thread(target=start, args=(server,)) for server in servers]
    for thread in threads:
        thread.start()
    while len(answers) < 2 and any(thread.is_alive() for thread in threads):
        release.wait(0.05)
    try:
        assert sorted(answers) == [False, True]
        assert all(server.answers() for server in servers)
    finally:
        for server in servers:
            server.stop()
        release.set()
        for thread in threads:
            thread.join()


def test_data_is_served_by_its_own_major_version_and_else_the_message_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [Installation(Path("/new/bin"), 18, "wheel"), Installation(Path("/old/bin"), 15, "system")]
    monkeypatch.setattr(postgres, "installations", lambda: iter(found))
    folder.mkdir()
    assert postgres.choose(folder).major == 18
    (folder / "PG_VERSION").write_text("15\n")
    assert postgres.choose(folder).bin == Path("/old/bin")
    (folder / "PG_VERSION").write_text("16\n")
    with pytest.raises(PostgresError, match=r"made by PostgreSQL 16.*postgresql-16"):
        postgres.choose(folder)


def test_the_wheel_is_preferred(folder: Path) -> None:
    assert next(postgres.installations()).source == "wheel"


def test_without_any_postgresql_the_message_says_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "installations", lambda: iter(()))
    with pytest.raises(PostgresError, match="set DATABASE_URL"):
        postgres.choose(folder)


def test_a_killed_initdb_leaves_no_half_made_data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "run", lambda *_, **__: (1, "killed"))
    server = Embedded.__new__(Embedded)
    server.folder = server.base = folder
    server.data, server._user = folder / "postgres", None
    folder.mkdir()
    with pytest.raises(PostgresError, match="killed"):
        server._make(Installation(Path("/none"), 18, "wheel"))
    assert sorted(path.name for path in folder.iterdir()) == ["postgres.password"]


# Only root drops to another user; for everybody else there is nothing here to test.
if os.geteuid() == 0:

    def test_as_root_under_a_closed_folder_data_lies_elsewhere_and_no_permission_changes(
        tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(embedded, "ELSEWHERE", tmp_path / "elsewhere")
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        server = Embedded(closed / "clone" / "var")
        assert server.start()
        try:
            assert closed.stat().st_mode & 0o777 == 0o700
            assert server.data.is_relative_to(tmp_path / "elsewhere")
            assert Embedded(closed / "clone" / "var").data == server.data  # the next start finds it
        finally:
            server.stop()

    def test_binaries_that_the_user_cannot_reach_are_copied_with_their_libraries(
        tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(embedded, "ELSEWHERE", tmp_path / "elsewhere")
        user = embedded.unprivileged_user()
        assert user is not None
        server = Embedded(folder)
        wheel = next(postgres.installations())
        copy = server._copied(wheel)
        assert copy.bin.is_relative_to(tmp_path / "elsewhere")
        assert process.run([copy.program("psql"), "--version"], user=user, cwd=Path("/"))[0] == 0

    def test_data_made_by_an_ordinary_user_is_served_as_that_user(folder: Path) -> None:
        user = pwd.getpwnam("nobody")
        (folder / "postgres").mkdir(parents=True)
        os.chown(folder / "postgres", user.pw_uid, user.pw_gid)
        server = Embedded(folder)
        assert server._user is not None
        assert server._user.pw_name == "nobody"
