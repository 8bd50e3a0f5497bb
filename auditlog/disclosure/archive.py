"""Owns an export as one ZIP, made while it is sent: its memory does not grow with the export, and nothing is written beside it.

The standard library writes it: it takes a target that cannot seek, and ZIP64 where a member asks for it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, cast

_PIECE: Final = 256 * 1024


class _Out:
    """What was written and not sent yet. It cannot seek, so that lengths and checksums come after each member."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """There is nothing behind it."""

    def taken(self) -> bytes:
        data, self._parts = b"".join(self._parts), []
        return data


def stream(folder: Path, name: str) -> Iterator[bytes]:
    """The ZIP of a finished folder; its members lie in a folder of this name. Raises OSError where a file is gone."""
    out = _Out()
    with zipfile.ZipFile(cast(IO[bytes], out), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            member = zipfile.ZipInfo.from_file(path, f"{name}/{path.relative_to(folder).as_posix()}", strict_timestamps=False)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o100644 << 16
            with path.open("rb") as source, target.open(member, "w", force_zip64=True) as sink:
                while piece := source.read(_PIECE):
                    sink.write(piece)
                    if data := out.taken():
                        yield data
            yield out.taken()
    yield out.taken()
