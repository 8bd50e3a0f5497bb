"""Owns the template tags of the pages: stored text made visible, times in the reader's zone, numbers with their units."""

from __future__ import annotations

from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from urllib.parse import quote, urlencode

from django import template
from django.template.context import Context

from auditlog.store import server
from auditlog.web import markup
from auditlog.web import text as texts
from auditlog.web.links import step_href

register = template.Library()

_SIGNS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}
_NO_DECIMALS = frozenset(("JPY", "KRW", "VND", "CLP"))


@register.simple_tag
def stored(value: object) -> str:
    """Stored text with what hides made visible; the template escapes what comes out."""
    return markup.of(str(value))


@register.simple_tag
def database_dangers() -> dict[str, object] | None:
    """What the database's settings may lose, for the line above every page, and whether ingest stores all the same."""
    found = server.standing.dangers()
    return {"found": found, "stores": server.allowed()} if found else None


@register.simple_tag
def querystring_of(name: str, value: str) -> str:
    """One parameter of an address; the template escapes what comes out."""
    return urlencode({name: value}, errors="replace")


@register.simple_tag(takes_context=True)
def href_of(context: Context, number: int) -> str:
    """Address of a step by its number from 1: within the first page of its session, else whole, so that it can be copied anywhere."""
    return step_href(context["facts"].key, context.get("page"), number)


@register.filter
def exact(value: object) -> str:
    """Stored text for `data-copy`, percent-encoded: HTML itself would change NUL and CR, and nothing that hides stands in the page."""
    return quote(str(value), errors="replace")


@register.filter
def visible(value: object) -> str:
    """Stored text for a place without markup."""
    return texts.plain(str(value))


@register.filter
def spaced(value: object) -> str:
    """A name of the API as a word: arguments_invalid is read as arguments invalid."""
    return str(value).replace("_", " ")


@register.filter
def date_or_text(value: object) -> object:
    """What a field holds: a day as an input of type date wants it."""
    return value.isoformat() if isinstance(value, date) else value


def parse(value: object) -> datetime | None:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    try:
        return datetime.fromisoformat(str(value)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


@register.simple_tag(takes_context=True)
def at(context: Context, value: object, form: str = "full") -> str:
    """A time in the reader's zone, with UTC beside it for whoever asks. Forms: full, ledger, clock."""
    return printed(value, _zone(context), form)


def _zone(context: Context) -> tzinfo:
    zone = context.get("zone")
    return zone if isinstance(zone, tzinfo) else UTC


def printed(value: object, zone: tzinfo, form: str = "full") -> str:
    """What the tag `at` prints, for rows that are made in Python."""
    moment = parse(value) if value else None
    if moment is None:
        return markup.UNDATED
    return markup.time(moment.isoformat(), shown(zone, moment, form), f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond:06d} UTC")


def shown(zone: tzinfo, moment: datetime, form: str) -> str:
    local = moment.astimezone(zone)
    clock = f"{local.hour:02}:{local.minute:02}:{local.second:02}"
    if form == "clock":
        return f"{clock}.{local.microsecond // 100000}"
    day = f"{local.day:02}" if form == "ledger" else str(local.day)
    return f"{day} {local:%b} {local.year} {clock}"


@register.simple_tag(takes_context=True)
def at_text(context: Context, value: object) -> str:
    """The same for a place without markup."""
    moment = parse(value) if value else None
    return "undated" if moment is None else shown(_zone(context), moment, "ledger")


@register.filter
def thousands(value: object) -> str:
    """A whole number with separators; nothing where none is known."""
    return f"{value:,}" if isinstance(value, int) else "–"


@register.filter
def seconds(value: object) -> str:
    """A span of time as one reads it."""
    if not isinstance(value, int | float):
        return "–"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


@register.filter
def money(value: object, currency: object = None) -> str:
    """An amount with its currency; without one the bare number, because nothing may be guessed."""
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return str(value)
    code = str(currency) if currency else ""
    if not code:
        return f"{number:,f}"
    shown = f"{abs(number):,.0f}" if code in _NO_DECIMALS else f"{abs(number):,.2f}"
    minus = "−" if number < 0 else ""
    return f"{minus}{_SIGNS[code]}{shown}" if code in _SIGNS else f"{minus}{shown} {code}"


@register.filter
def cost(value: object) -> str:
    return f"${value:.4f}" if isinstance(value, int | float) and not isinstance(value, bool) else "not priced"


@register.filter
def count(value: object, noun: str) -> str:
    """1 step, 2 steps."""
    return f"{value:,} {noun}{'' if value == 1 else 's'}" if isinstance(value, int) else f"– {noun}s"
