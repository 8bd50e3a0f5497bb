"""Owns the HTML of the ledger: a session's entry with its actions, and what was said around the words that found it.

Made in Python, because twenty sessions are hundreds of cells, and as templates those were half of the server time of a search
(docs/bench). `html` escapes whatever it is given, except HTML that was made here or by `markup`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.utils.safestring import SafeString

from auditlog.web.markup import html, joined

_NOTHING: Final = SafeString("")
_AGAIN: Final = SafeString('<td class="c-agent again" aria-hidden="true">″</td><td class="c-who again"></td>')
_NO_COST: Final = SafeString('<td class="c-cost"></td>')
_NOT_PRICED: Final = SafeString('<span class="muted">not priced</span>')
_NOBODY: Final = SafeString('<span class="muted">–</span>')
_MAY_HAVE: Final = SafeString(' title="It may have happened: no result was recorded."')
_MORE: Final = "…"

_ACTION: Final = (
    '<tr><td class="c-time{again}">{time}</td>{whom}'
    '<td class="c-act"><a class="open" href="{url}"><span class="tool"><bdi>{tool}</bdi></span>{amount}{object}</a></td>'
    '<td class="c-out"><span class="{tone}"{title}>{outcome}</span>{wrong}</td>{cost}</tr>'
)
_NO_ACTION: Final = '<tr><td class="c-time">{}</td>{}<td class="c-act muted">{}</td><td class="c-out"></td>{}</tr>'
_SESSION: Final = (
    '<tr><td class="c-time">{}</td>{}<td class="c-act"><a class="open" href="{}">{}</a></td>'
    '<td class="c-out"><span class="{}">{}</span></td>{}</tr>'
)
_CONTEXT: Final = (
    '<tr class="context"><td class="c-line" colspan="6"><a class="open" href="{url}">{opening}</a> '
    '<span class="muted"><span class="narrow"><bdi>{agent}</bdi> · </span>session <bdi class="data id">{session_id}</bdi> ·</span> '
    '<span class="{tone}">{trail}</span> <span class="muted">· {calls}{hidden}</span></td></tr>'
)
_EXCERPT: Final = '<li><a href="{}">step {}</a> <span class="muted">{}:</span> <q><bdi>{}{}{}</bdi></q></li>'
_EXCERPTS: Final = '<tr class="excerpts"><td class="c-said" colspan="6"><ul>{}</ul></td></tr>'


def entry(r: Mapping[str, Any], *, only_sessions: bool) -> SafeString:
    """`r`: an entry of web/entries.py."""
    whom, cost = _whom(r), html('<td class="c-cost num">{}</td>', r["cost"] or _NOT_PRICED)
    if only_sessions:
        lines = html(_SESSION, r["time"], whom, r["url"], _opening(r), r["tone"], r["trail"], cost)
    else:
        actions = [_action(one, *((_AGAIN, _NO_COST) if n else (whom, cost)), again=n > 0) for n, one in enumerate(r["actions"])]
        none = "no tool was called" if r["read"] else "being read"
        lines = joined(actions or [html(_NO_ACTION, r["time"], whom, none, cost)]) + _context(r)
    return html("<tbody>{}{}</tbody>", lines, _excerpts(r["excerpts"]))


def _action(one: Mapping[str, Any], whom: SafeString, cost: SafeString, *, again: bool) -> SafeString:
    return html(
        _ACTION,
        again=" again" if again else "",
        time=one["time"],
        whom=whom,
        url=one["url"],
        tool=one["tool"],
        amount=html(' <b class="amount">{}</b>', one["amount"]) if one["amount"] else "",
        object=html(' <bdi class="object data">{}</bdi>', one["object"]) if one["object"] else "",
        tone=one["tone"],
        title=_MAY_HAVE if one["tone"] == "open-tone" else "",
        outcome=one["outcome"],
        wrong=joined(html(' · <span class="bad">{}</span>', wrong) for wrong in one["wrong"]),
        cost=cost,
    )


def _whom(r: Mapping[str, Any]) -> SafeString:
    version = html(' <span class="muted"><bdi>{}</bdi></span>', r["version"]) if r["version"] else ""
    if r["customers"]:
        concerned = joined(html("<bdi>{}</bdi> ", one) for one in r["customers"])
    else:
        concerned = html('<bdi class="muted">{}</bdi>', r["user"]) if r["user"] else _NOBODY
    return html('<td class="c-agent"><bdi>{}</bdi>{}</td><td class="c-who">{}</td>', r["agent"], version, concerned)


def _opening(r: Mapping[str, Any]) -> SafeString:
    if r["opening"]:
        return html("<q><bdi>{}</bdi></q>", r["opening"])
    return html('<span class="muted">{}</span>', "no request recorded" if r["content"] else "request not shown")


def _context(r: Mapping[str, Any]) -> SafeString:
    return html(
        _CONTEXT,
        url=r["url"],
        opening=_opening(r),
        agent=r["agent"] if r["agent_known"] else "unnamed agent",
        session_id=r["session_id"],
        tone=r["tone"],
        trail=r["trail"],
        calls=r["calls"],
        hidden=f", {r['hidden']}" if r["hidden"] else "",
    )


def _excerpts(found: Sequence[Mapping[str, Any]]) -> SafeString:
    """Each passage with its step."""
    if not found:
        return _NOTHING
    passages = (
        html(
            _EXCERPT,
            one["url"],
            one["number"],
            one["who"],
            _MORE if one["before"] else "",
            _said(one["pieces"]),
            _MORE if one["after"] else "",
        )
        for one in found
    )
    return html(_EXCERPTS, joined(passages))


def _said(pieces: Sequence[tuple[bool, str]]) -> SafeString:
    return joined(html("<mark>{}</mark>" if hit else "{}", text) for hit, text in pieces)
