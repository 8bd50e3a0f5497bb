"""Owns the copies of finished exports in object storage that speaks S3: put there file by file, and taken away when the export expires.

The library takes keys, region and endpoint from the usual variables (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT,
or the role of the machine). The manifest is put last, as it is written last: a copy with one is whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from auditlog import conf
from auditlog.errors import Problem
from auditlog.export.files import MANIFEST

_PATIENCE: Final[Any] = {"max_retries": 5, "retry_timeout": timedelta(seconds=60)}
_AT_ONCE: Final = 1000  # objects of one request to delete, as S3 has it


def address(number: int) -> str:
    """Where the copy of an export goes, `s3://bucket/prefix/7`; empty where there is to be none."""
    base = str(conf.get("AUDITLOG_EXPORT_STORE"))
    return f"{base.rstrip('/')}/{number}" if base else ""


def beside(folder: Path) -> Path:
    """The file that says how much of a folder was copied, and where to."""
    return folder.with_name(f"{folder.name}.copied")


def put(folder: Path, where: str, step: Callable[[], None]) -> None:
    """Copies a finished folder, after an interruption the rest of it. `step` is called before each file; what it raises ends it.

    Killed between a file and the note of it, that file is put again: the same bytes under the same name. Raises
    Problem("export_store_failed"): calling again goes on.
    """
    manifest = (folder / MANIFEST).read_bytes()
    files = [(one["path"], one["sha256"]) for one in json.loads(manifest)["files"]]
    with _Told(where) as store:
        for done, (path, sha) in list(enumerate(files, 1))[_copied(folder, where) :]:
            step()
            store.put(path, folder / path, {"sha256": sha})
            beside(folder).write_text(json.dumps([where, done]))
        step()
        store.put(MANIFEST, manifest, {})


def remove(where: str) -> None:
    """Takes a copy away. Raises Problem("export_store_failed")."""
    with _Told(where) as store:
        for paths in store.listed():
            store.delete(paths)


def _copied(folder: Path, where: str) -> int:
    """How many files are there already."""
    try:
        place, done = json.loads(beside(folder).read_text())
    except (OSError, ValueError):  # none yet, or killed while it was written
        return 0
    return int(done) if place == where else 0


class _Told:
    """The objects under an address. In its block, whatever the storage answers but success is a Problem that says where and what."""

    def __init__(self, where: str) -> None:
        import obstore.store  # only where there is such storage: each worker would hold it

        self._where = where
        self._library: Any = obstore
        self._store = obstore.store.from_url(where, retry_config=_PATIENCE)

    def __enter__(self) -> _Told:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, self._library.exceptions.BaseError | FileNotFoundError | PermissionError):
            said = str(error).splitlines()[0]
            todo = "Resume when it is mended: what it has is not sent again."
            raise Problem("export_store_failed", f"{self._where} did not take it: {said} {todo}") from error

    def put(self, path: str, data: Path | bytes, about: dict[str, str]) -> None:
        self._library.put(self._store, path, data, attributes=about)

    def delete(self, paths: list[str]) -> None:
        self._library.delete(self._store, paths)

    def listed(self) -> Iterator[list[str]]:
        for found in self._library.list(self._store, chunk_size=_AT_ONCE):
            yield [str(one["path"]) for one in found]
