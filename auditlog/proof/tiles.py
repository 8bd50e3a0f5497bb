"""Owns the addresses and bytes of a log as C2SP tlog-tiles publishes it: which tile an address names, and bundles of entries. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from auditlog.proof.tree import WIDTH

ENTRIES: Final = -1  # in place of a level: the entries themselves
HIGHEST: Final = 63
_PATH: Final = re.compile(
    r"tile/(?:(0|[1-9]\d?)|entries)/((?:x\d{3}/)*)(\d{3})(?:\.p/([1-9]\d{0,2}))?", re.ASCII
)  # fmt: skip


class Named(NamedTuple):
    """What an address names. level: of tiles, or ENTRIES; width 256: a complete one."""

    level: int
    number: int
    width: int


def path(level: int, number: int, width: int = WIDTH) -> str:
    """`tile/0/x001/234` of a complete tile, `tile/0/x001/234.p/17` of one with 17 hashes, `tile/entries/...` of entries."""
    digits = f"{number:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    name = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    partial = "" if width == WIDTH else f".p/{width}"
    return f"tile/{'entries' if level == ENTRIES else level}/{name}{partial}"


def read(text: str) -> Named | None:
    """None: no address of this form, or not the one way to write it."""
    found = _PATH.fullmatch(text)
    if found is None:
        return None
    level, groups, last, width = found.groups()
    named = Named(
        ENTRIES if level is None else int(level), int(groups.replace("x", "").replace("/", "") + last), int(width) if width else WIDTH
    )
    if named.level > HIGHEST or named.width > WIDTH or named.number >= 2**63 or path(*named) != text:
        return None
    return named


def bundle(entries: Iterable[bytes]) -> bytes:
    """Entries one after another, each with its length in two bytes before it."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def unbundle(data: bytes) -> list[bytes]:
    """Raises ValueError for what ends in the middle of an entry."""
    found, at = [], 0
    while at < len(data):
        start = at + 2
        at = start + int.from_bytes(data[at:start], "big")
        if start > len(data) or at > len(data):
            raise ValueError("the bundle ends in the middle of an entry")
        found.append(data[start:at])
    return found
