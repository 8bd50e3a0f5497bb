"""Owns the text of a checkpoint (C2SP tlog-checkpoint): whose log, how many leaves, and the root over them. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final, NamedTuple

_SIZE: Final = re.compile(r"0|[1-9]\d{0,18}", re.ASCII)


class Checkpoint(NamedTuple):
    """root: 32 bytes. extensions: further lines, which we never write."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()


def body(checkpoint: Checkpoint) -> str:
    """The text that is signed."""
    lines = (checkpoint.origin, str(checkpoint.size), base64.b64encode(checkpoint.root).decode(), *checkpoint.extensions)
    return "".join(f"{line}\n" for line in lines)


def read(text: str) -> Checkpoint:
    """Raises ValueError."""
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop() or not all(lines):
        raise ValueError("a checkpoint has at least three lines, none of them empty")
    origin, size, root, *extensions = lines
    if not _SIZE.fullmatch(size):
        raise ValueError(f"the size of a checkpoint is a number, not {size[:24]!r}")
    try:
        decoded = base64.b64decode(root, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the root of a checkpoint is base64") from None
    if len(decoded) != 32 or base64.b64encode(decoded).decode() != root:
        raise ValueError("the root of a checkpoint is 32 bytes in base64")
    return Checkpoint(origin, int(size), decoded, tuple(extensions))
