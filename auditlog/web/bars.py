"""Owns the bars above the ledger as they are drawn: 1000 wide and 40 high, each leading to its own stretch of time.

Made in Python as the rows are (web/rows.py): sixty bars are hundreds of values for a template, and an address for each was made anew.
"""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import Any, Final
from urllib.parse import quote_plus

from django.http import QueryDict

from auditlog.search.spread import Spread
from auditlog.web.markup import html, joined
from auditlog.web.sentence import address
from auditlog.web.tags import count, shown

_HEIGHT: Final = 40
_LEAST: Final = 3  # so that one session among thousands is seen
_BAR: Final = (
    '<a href="{}"><title>{}: {}</title><rect class="hit" x="{}" y="0" width="{}" height="40"/>'
    '<rect x="{}" y="{}" width="{}" height="{}"/></a>'
)
_MARK: Final = "_"  # stands for a time in an address that is made once for all bars


def bars(query: QueryDict, found: Spread, zone: tzinfo) -> dict[str, Any]:
    """What `search.html` shows of them; nothing where there are none."""
    if not found.bars:
        return {}
    step, highest = 1000 / len(found.bars), max(bar.sessions for bar in found.bars)
    width = f"{max(step - 2, step * 0.8):.2f}"
    link = address(query, **{"from": _MARK, "to": _MARK}).removesuffix(f"from={_MARK}&to={_MARK}")
    drawn = []
    for n, bar in enumerate(found.bars):
        if not bar.sessions:
            continue
        x, height = f"{n * step:.2f}", max(_LEAST, _HEIGHT * bar.sessions / highest)
        href = f"{link}from={_said(bar.start)}&to={_said(bar.end - timedelta(microseconds=1))}"
        when = shown(zone, bar.start, "ledger")
        drawn.append(html(_BAR, href, when, count(bar.sessions, "session"), x, width, x, f"{_HEIGHT - height:.1f}", width, f"{height:.1f}"))
    return {
        "bars": joined(drawn),
        "bar_count": len(found.bars),
        "bars_cut": found.cut,
        "bars_from": found.bars[0].start,
        "bars_to": found.bars[-1].end,
    }


def _said(moment: datetime) -> str:
    return quote_plus(moment.isoformat())
