"""Owns how text is prepared for fonts: what no font can show is spelled out, long words may break, direction and language are named.

The typesetter prints an empty box, or refuses the document, where a glyph is missing. So each character is looked up in the fonts first.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Final

from fontTools.ttLib import TTCollection, TTFont

from auditlog.web.text import Segment, segments

PACKAGES: Final = ("manimgx_fonts", "noto_cjk_sans_otc", "fontpkg_ibm_plex_mono", "fontpkg_ibm_plex_sans_arabic")
MONO: Final = "IBM Plex Mono"
HAN: Final = {"ja": "Noto Sans CJK JP", "ko": "Noto Sans CJK KR", "zh": "Noto Sans CJK SC"}
# In this order a font is looked for. Plex for Arabic, because text copied from its glyphs is the text that was set.
FAMILIES: Final = (
    "Noto Sans", "IBM Plex Sans Arabic", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Sans Thai",
    "Noto Sans Bengali", "Noto Sans Tamil", "Noto Sans Telugu", "Noto Sans Gujarati", "Noto Sans Gurmukhi", "Noto Sans Kannada",
    "Noto Sans Malayalam", "Noto Sans Oriya", "Noto Sans Sinhala", "Noto Sans Lao", "Noto Sans Khmer", "Noto Sans Myanmar",
    "Noto Sans Armenian", "Noto Sans Georgian", "Noto Sans Ethiopic", "HAN", "Noto Sans Symbols", "Noto Emoji",
)  # fmt: skip
UNNAMED: Final = "a character that no font here has"

_LONG: Final = re.compile(r"[!-\u024f\u0370-\u058f]{32,}|\S{80,}")
_PARAGRAPH: Final = 4_000  # characters that are set as one: PDF/A knows no longer strings, and the typesetter fails at 65,535 bytes
_PIECE: Final = 8  # characters of a long word after which a line may end
_KANA: Final = re.compile("[\u3040-\u30ff\u31f0-\u31ff]")
_HANGUL: Final = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]")
_IDEOGRAPHS: Final = re.compile("[\u2e80-\u2fdf\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af]")
_SELECTORS: Final = frozenset(map(chr, range(0xFE00, 0xFE10)))  # they choose among a font's own shapes; no font has to have them

Run = str | int | list[str]  # text, a place where a line may end, or one character spelled out: [code, name]


def folders() -> list[str]:
    """Where the fonts lie: in packages that carry nothing else."""
    return [str(files(name)) for name in PACKAGES]


@functools.cache
def coverage() -> dict[str, frozenset[int]]:
    """Family to the characters of its upright regular face. Read once, in half a second."""
    found: dict[str, frozenset[int]] = {}
    for name in PACKAGES:
        for root in (files(name), files(name) / "files"):
            if not root.is_dir():
                continue
            for entry in sorted(root.iterdir(), key=lambda each: each.name):
                if entry.name.endswith(".ttc"):
                    with TTCollection(str(entry), lazy=True) as faces:
                        characters = _face(faces.fonts[0])[1]  # all have the same: they differ in which shape a character gets
                        found |= {_name(face): characters for face in faces.fonts}
                elif entry.name.endswith((".ttf", ".otf")) and "Italic" not in entry.name:
                    with TTFont(str(entry), lazy=True) as font:
                        found.setdefault(*_face(font))
    return found


def _face(font: TTFont) -> tuple[str, frozenset[int]]:
    return _name(font), frozenset(font.getBestCmap())


def _name(font: TTFont) -> str:
    names = font["name"]
    return str(names.getDebugName(16) or names.getDebugName(1))


def families(language: str, mono: bool = False) -> list[str]:
    """The families in which a text of this language is set."""
    return [*([MONO] if mono else []), *(HAN.get(language, HAN["zh"]) if name == "HAN" else name for name in FAMILIES)]


@functools.cache
def _sets() -> tuple[frozenset[int], ...]:
    return tuple(coverage()[name] for name in families("zh"))


@functools.cache
def _known() -> frozenset[int]:
    """Without private use: what a font draws there means nothing elsewhere, and an archive may not hold it."""
    return frozenset(n for n in frozenset().union(*_sets()) if not 0xE000 <= n <= 0xF8FF and n < 0xF0000)


def spelled(text: str) -> list[Segment]:
    """Stored text cut where a character has to be spelled out: those that pages spell out, and those that no font has."""
    found: list[Segment] = []
    for segment in segments(text.replace("\t", "    ")):
        if segment.badge:
            code = segment.title.partition(" ")[0]
            found.append(Segment("", code, segment.title))
        else:
            found += _shown(segment.text)
    return found


def _shown(text: str) -> Iterator[Segment]:
    marks = any(unicodedata.category(character)[0] == "M" for character in set(text))
    missing = {c for c in set(text) if c != "\n" and c not in _SELECTORS and ord(c) not in _known()}
    if not missing and not marks:
        yield Segment(text)
        return
    start = 0
    for at, end in _clusters(text) if marks else ((at, at + 1) for at, c in enumerate(text) if c in missing):
        unfit = _unfit(text[at:end])
        for offset, character in enumerate(text[at:end]):
            if character in unfit:
                if start < at + offset:
                    yield Segment(text[start : at + offset])
                yield _badge(character)
                start = at + offset + 1
    if start < len(text):
        yield Segment(text[start:])


def _badge(character: str) -> Segment:
    code = f"U+{ord(character):04X}"
    return Segment("", code, f"{code} {unicodedata.name(character, UNNAMED)}")


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """A character with the marks that combine with it: one font must have all of them."""
    start = 0
    for at in range(1, len(text) + 1):
        if at == len(text) or unicodedata.category(text[at])[0] != "M":
            yield start, at
            start = at


def _unfit(cluster: str) -> set[str]:
    """What of it has to be spelled out: all that no font has, else the marks, where no one font has them with their base."""
    wanted = {c for c in cluster if c != "\n" and c not in _SELECTORS}
    missing = {c for c in wanted if ord(c) not in _known()}
    if missing or len(wanted) < 2 or any(all(ord(c) in one for c in wanted) for one in _sets()):
        return missing
    return wanted - {cluster[0]} or wanted


def paragraphs(text: str) -> list[dict[str, Any]]:
    """A text for the typesetter: {runs, rtl?, lang?}, lines of one direction and language together."""
    made: list[dict[str, Any]] = []
    room = 0
    before: dict[str, Any] | None = None
    for line in _lines(text):
        plain = "".join(segment.text for segment in line)
        kind = {name: value for name, value in (("rtl", _rtl(plain)), ("lang", _language(plain))) if value}
        size = len(plain) + len(line) + 1
        if kind == before and size <= room:
            made[-1]["runs"] += ["\n", *_runs(line)]
        else:
            made += [{"runs": _runs(piece), **kind} for piece in _pieces(line)]
            room = _PARAGRAPH
        room -= size
        before = kind
    return made


def _lines(text: str) -> list[list[Segment]]:
    lines: list[list[Segment]] = [[]]
    for segment in spelled(text):
        if segment.badge:
            lines[-1].append(segment)
            continue
        first, *others = segment.text.split("\n")
        lines[-1].append(Segment(first))
        lines += [[Segment(other)] for other in others]
    return lines


def _pieces(line: list[Segment]) -> Iterator[list[Segment]]:
    """A line, cut where it is longer than can be set: the cut is one more end of a line."""
    piece: list[Segment] = []
    room = _PARAGRAPH
    for segment in line:
        rest = segment.text
        while len(rest) > room:
            end = _end(rest, room)
            yield [*piece, Segment(rest[:end])]
            piece, rest, room = [], rest[end:], _PARAGRAPH
        if segment.badge and room < 1:
            yield piece
            piece, room = [], _PARAGRAPH
        piece.append(segment if segment.badge else Segment(rest))
        room -= len(rest) + 1
    yield piece


def _end(text: str, room: int) -> int:
    """Behind the last space that fits; where there is none, at what fits and does not part a letter from its marks."""
    end = text.rfind(" ", 0, max(room, 1)) + 1 or max(room, 1)
    while end < len(text) and (unicodedata.category(text[end])[0] == "M" or text[end] in _SELECTORS):
        end += 1
    return end


def _runs(line: list[Segment]) -> list[Run]:
    runs: list[Run] = []
    for segment in line:
        if segment.badge:
            runs += [[segment.badge], 0]  # a line may end after it
            continue
        end = 0
        for match in _LONG.finditer(segment.text):
            for at in range(match.start() + _PIECE, match.end(), _PIECE):
                if unicodedata.category(segment.text[at])[0] != "M" and segment.text[at] not in _SELECTORS:
                    runs += [segment.text[end:at], 0]
                    end = at
        if segment.text[end:]:
            runs.append(segment.text[end:])
    return runs


def _rtl(line: str) -> bool:
    """Whether the first letter of a line is written from right to left."""
    for character in line:
        direction = unicodedata.bidirectional(character)
        if direction in ("L", "R", "AL"):
            return direction != "L"
    return False


def _language(line: str) -> str:
    """Which shapes of Han characters a line wants; empty where it has none."""
    if not _IDEOGRAPHS.search(line):
        return ""
    return "ja" if _KANA.search(line) else "ko" if _HANGUL.search(line) else "zh"
