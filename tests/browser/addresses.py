"""Owns which concrete addresses each pattern of the URLconf is visited at; a pattern without any makes a test fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from django.urls import URLPattern, URLResolver, get_resolver

from tests.browser import hostile, planting
from tests.service import Service


class Place(NamedTuple):
    """An address, and the hostile text that the page at it shows, if it shows one. `twin`: the same page of the harmless text."""

    path: str
    text: str = ""
    twin: str = ""


class Planted:
    """Keys of what was planted: sessions by the name of their text, and all events of some."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.sessions = {name: (self._session(text), self._session(planting.twin(name))) for name, text in hostile.TEXTS.items()}
        self.keys = planting.keys(service)
        self.searches = planting.searches(service)
        self.quarantined = [event["id"] for event in self._events("item=unreadable")]

    def _session(self, text: str) -> str:
        (found,) = self._service.get(f"/api/v1/sessions?trace_id={planting.trace_of(text, 'rest')}")["results"]
        (again,) = self._service.get(f"/api/v1/sessions?trace_id={planting.trace_of(text, 'otlp')}")["results"]
        assert found["key"] == again["key"]  # REST and OTLP name one session
        return str(found["key"])

    def _events(self, query: str) -> Iterator[dict[str, Any]]:
        address: str | None = f"/api/v1/events?limit=200&{query}"
        while address:
            page = self._service.get(address)
            yield from page["results"]
            address = page["next"] and page["next"].removeprefix(self._service.first_run["url"])

    def events(self, name: str) -> list[str]:
        return [event["id"] for event in self._events(f"session={self.sessions[name][0]}")]


def patterns() -> list[str]:
    """Every pattern of the URLconf, as Django's resolver has them."""
    return sorted(set(_walk(get_resolver().url_patterns, "")))


def _walk(found: Iterable[URLPattern | URLResolver], before: str) -> Iterator[str]:
    for each in found:
        pattern = before + str(each.pattern)
        if isinstance(each, URLResolver):
            yield from _walk(each.url_patterns, pattern)
        else:
            yield pattern


def asked(path: str, **parameters: str) -> str:
    return f"{path}?{urlencode(parameters)}"


def _blends() -> list[str]:
    """All that fit into an address, several to a text: what only an address says needs no page for each."""
    texts = [text for text in hostile.TEXTS.values() if len(text) < 600]
    return [" ".join(texts[start : start + 8]) for start in range(0, len(texts), 8)]


FILTERS: Final = (
    *("q", "customer_id", "user_id", "session_id", "trace_id", "subject", "agent", "tool", "value", "amount_min", "amount_max"),
    *("from", "to", "agent_version", "outcome", "check", "view", "live", "since", "model", "response_model", "response_id"),
    *("system_prompt", "tool_schema", "finding", "verdict", "cursor", "when", "min_cost", "max_cost", "min_tool_calls"),
)


def _search(planted: Planted) -> Iterator[Place]:
    yield Place("/")
    yield Place(asked("/", q="said or asked or why or again", facets="1", range="all"))  # passages, counts
    for text in _blends():
        yield from (Place(asked("/", **{name: text})) for name in ("q", text))
        yield Place(asked("/", **dict.fromkeys(FILTERS, text)))  # refused, with every field filled
    for name in ("customer_id", "user_id", "session_id", "agent", "tool", "value", "model", "response_id"):
        yield Place(asked("/", **{name: hostile.TEXTS["script"]}))
        yield Place(asked("/", **{name: hostile.TEXTS["bidi override"]}))


def _saved(planted: Planted) -> Iterator[Place]:
    """A search saved under each text, for each text: listed, and in the menu of the search page."""
    assert planted.searches
    yield Place("/searches")
    yield Place("/")


def _sessions(planted: Planted) -> Iterator[Place]:
    for name, (key, harmless) in planted.sessions.items():
        yield Place(f"/sessions/{key}", hostile.TEXTS[name], f"/sessions/{harmless}")
    key = planted.sessions["script"][0]
    for text in _blends():
        yield Place(asked(f"/sessions/{key}", page=text, tz=text))
        yield Place(f"/sessions/{quote(text, safe='')}")


def _dossiers(planted: Planted) -> Iterator[Place]:
    for key, _ in list(planted.sessions.values())[::4]:
        yield Place(f"/sessions/{key}/dossier")
    yield from (Place(asked(f"/sessions/{planted.sessions['script'][0]}/dossier", step=text)) for text in _blends())


def _whys(planted: Planted) -> Iterator[Place]:
    for n, (key, _) in enumerate(planted.sessions.values()):
        yield Place(f"/sessions/{key}/why/{n % 8 + 1}")
    yield from (Place(f"/sessions/{planted.sessions['script'][0]}/why/{number}") for number in range(10))


def _instructions(planted: Planted) -> Iterator[Place]:
    yield from (Place(f"/sessions/{key}/instructions") for key, _ in list(planted.sessions.values())[::2])
    yield Place(asked(f"/sessions/{planted.sessions['script'][0]}/instructions", **{"with": _blends()[0]}))


def _events(planted: Planted) -> Iterator[Place]:
    yield from (Place(f"/events/{event}") for event in planted.events("all of them"))
    for name in hostile.TEXTS:  # of the others one each, now of this kind, now of that
        events = planted.events(name)
        yield Place(f"/events/{events[len(name) % len(events)]}")
    yield from (Place(f"/events/{event}") for event in planted.quarantined[::11])
    yield from (Place(f"/events/{quote(text, safe='')}") for text in _blends())


def _find(planted: Planted) -> Iterator[Place]:
    for text in _blends():
        yield from (Place(asked("/find", **{name: text})) for name in ("value", "trace_id", text))
    for name in ("session_id", "response_id", "value"):
        yield Place(asked("/find", **{name: hostile.TEXTS["script"]}))


def _login(planted: Planted) -> Iterator[Place]:
    yield from (Place(asked("/login", next=text)) for text in (*hostile.AWAY, *_blends()))


def _quarantine(planted: Planted) -> Iterator[Place]:
    yield Place("/quarantine?limit=200")
    for text in _blends():
        yield Place(asked("/quarantine", code=text, cursor=text))
        yield Place(asked("/quarantine", code=text))


def _retention(planted: Planted) -> Iterator[Place]:
    yield from (Place(asked("/retention", customer_id=text, q=text, **{"from": text})) for text in _blends())


def _preview(planted: Planted) -> Iterator[Place]:
    yield Place("/retention/preview?class=1&days=3000")
    yield from (Place(asked("/retention/preview", **{"class": text, "days": text, "clock": text})) for text in _blends())


def _erasures(planted: Planted) -> Iterator[Place]:
    yield Place("/retention/erasures")
    yield from (Place(asked("/retention/erasures", customer_id=text, subject=text)) for text in _blends())


def _access(planted: Planted) -> Iterator[Place]:
    yield Place("/access")
    yield from (Place(asked("/access", actor=text, object=f"session:{text}", **{"from": text})) for text in _blends())


def _exports(planted: Planted) -> Iterator[Place]:
    yield Place("/exports")
    yield from (Place(asked("/exports", customer_id=text, tool=text, **{"from": text})) for text in _blends()[:2])


def _agents(planted: Planted) -> Iterator[Place]:
    yield Place("/agents")
    yield from (Place(asked("/agents", **{"from": text, "to": text})) for text in _blends())


def _log(planted: Planted) -> Iterator[Place]:
    yield Place("/log")
    yield from (Place(asked("/log", cursor=text)) for text in _blends())


def _settings(path: str) -> Callable[[Planted], Iterator[Place]]:
    """Pages that hold keys with hostile names; those that only change something answer that they are no page."""

    def found(planted: Planted) -> Iterator[Place]:
        numbers = planted.keys if "{key}" in path else [1]
        yield from (Place(path.format(key=number, text=quote(_blends()[0], safe=""))) for number in numbers)

    return found


def _api(path: str) -> Callable[[Planted], Iterator[Place]]:
    def found(planted: Planted) -> Iterator[Place]:
        key = planted.sessions["script"][0]
        yield Place(path.format(key=key, event=planted.events("script")[0]))
        yield Place(path.format(key=quote(_blends()[0], safe=""), event=quote(_blends()[0], safe="")))
        yield Place(asked(path.format(key=key, event=planted.quarantined[0]), q=_blends()[0]))

    return found


# One line for each pattern. A page is visited, an answer for programs is asked for: neither may act.
CONCRETE: Final[dict[str, Callable[[Planted], Iterator[Place]]]] = {
    "": _search,
    "results.csv": _api("/results.csv?customer_id={event}"),
    "results.json": _api("/results.json?customer_id={event}"),
    "searches": _saved,
    "searches/<int:pk>": _settings("/searches/0"),
    "searches/<int:pk>/remove": _settings("/searches/1/remove"),
    "find": _find,
    "login": _login,
    "logout": _api("/logout"),
    "sessions/<str:key>": _sessions,
    "sessions/<str:key>/why/<int:number>": _whys,
    "sessions/<str:key>/instructions": _instructions,
    "sessions/<str:key>/why/<int:number>/pin": _settings("/sessions/nobody/why/1/pin"),
    "sessions/<str:key>/why/<int:number>/pins/<int:pk>/remove": _settings("/sessions/nobody/why/1/pins/1/remove"),
    "sessions/<str:key>/calls/<int:number>/request": _api("/sessions/{key}/calls/1/request"),
    "sessions/<str:key>/dossier": _dossiers,
    "sessions/<str:key>/dossier.pdf": _api("/sessions/{key}/dossier.pdf"),
    "events/<str:public_id>": _events,
    "access": _access,
    "access.csv": _api("/access.csv?actor={event}"),
    "access.json": _api("/access.json?actor={event}"),
    "agents": _agents,
    "log": _log,
    "log/v1/checkpoint": _api("/log/v1/checkpoint"),
    "^log/v1/(?P<name>tile/.+)$": _api("/log/v1/tile/{key}"),
    "quarantine": _quarantine,
    "retention": _retention,
    "retention/preview": _preview,
    "retention/rules": _settings("/retention/rules"),
    "retention/rules/remove": _settings("/retention/rules/remove"),
    "retention/clocks": _settings("/retention/clocks"),
    "retention/longer": _settings("/retention/longer"),
    "retention/longer/<int:number>/end": _settings("/retention/longer/1/end"),
    "retention/erasures": _erasures,
    "retention/erasures/<int:number>": _settings("/retention/erasures/1"),
    "retention/erasures/<int:number>/decide": _settings("/retention/erasures/1/decide"),
    "retention/holds/<int:number>/release": _settings("/retention/holds/1/release"),
    "exports": _exports,
    "exports/<int:number>/turn": _settings("/exports/1/turn"),
    "exports/<int:number>/release": _settings("/exports/1/release"),
    "exports/<int:number>/download": _api("/exports/77/download"),
    "purpose": _settings("/purpose?next={text}"),
    "settings": _settings("/settings"),
    "settings/purpose": _settings("/settings/purpose"),
    "settings/password": _settings("/settings/password"),
    "settings/keys": _settings("/settings/keys"),
    "settings/keys/<int:pk>": _settings("/settings/keys/{key}"),
    "settings/keys/<int:pk>/rotate": _settings("/settings/keys/{key}/rotate"),
    "settings/keys/<int:pk>/revoke": _settings("/settings/keys/{key}/revoke"),
    "settings/members": _settings("/settings/members"),
    "settings/members/<int:pk>": _settings("/settings/members/1"),
    "settings/members/<int:pk>/remove": _settings("/settings/members/1/remove"),
    "settings/members/<int:pk>/link": _settings("/settings/members/1/link"),
    "welcome/<str:uidb64>/<str:token>": _settings("/welcome/{text}/{text}"),
    "healthz": _api("/healthz"),
    "readyz": _api("/readyz"),
    "metrics": _api("/metrics"),
    "api/v1/access-log": _api("/api/v1/access-log?actor={event}"),
    "api/v1/holds": _api("/api/v1/holds"),
    "api/v1/holds/<str:hold>": _api("/api/v1/holds/1"),
    "api/v1/exports": _api("/api/v1/exports"),
    "api/v1/exports/<str:export>": _api("/api/v1/exports/1"),
    "api/v1/exports/<str:export>/releases": _api("/api/v1/exports/1/releases"),
    "api/v1/exports/<str:export>/download": _api("/api/v1/exports/77/download"),
    "api/v1/retention-classes": _api("/api/v1/retention-classes"),
    "api/v1/retention-classes/<str:class_no>/preview": _api("/api/v1/retention-classes/1/preview?days=2557"),
    "api/v1/erasures": _api("/api/v1/erasures"),
    "api/v1/erasures/<str:erasure>": _api("/api/v1/erasures/1"),
    "api/v1/erasures/<str:erasure>/preview": _api("/api/v1/erasures/1/preview"),
    "api/v1/retention-rules": _api("/api/v1/retention-rules"),
    "api/v1/clock-events": _api("/api/v1/clock-events"),
    "api/v1/reclassifications": _api("/api/v1/reclassifications"),
    "api/v1/reclassifications/<str:reclassification>": _api("/api/v1/reclassifications/1"),
    "api/v1/sessions": _api("/api/v1/sessions"),
    "api/v1/sessions/<str:key>": _api("/api/v1/sessions/{key}"),
    "api/v1/sessions/<str:key>/timeline": _api("/api/v1/sessions/{key}/timeline"),
    "api/v1/agents": _api("/api/v1/agents"),
    "api/v1/actions": _api("/api/v1/actions"),
    "api/v1/events": _api("/api/v1/events"),
    "api/v1/events/<str:public_id>": _api("/api/v1/events/{event}"),
    "api/v1/events/<str:public_id>/raw": _api("/api/v1/events/{event}/raw"),
    "api/v1/events/<str:public_id>/proof": _api("/api/v1/events/{event}/proof"),
    "api/v1/checkpoints": _api("/api/v1/checkpoints"),
    "api/v1/status": _api("/api/v1/status"),
    "api/v1/schema": _api("/api/v1/schema"),
    "api/v1/docs": _api("/api/v1/docs"),
    "api/v1/^.*$": _api("/api/v1/nothing/{key}"),
}
ALSO: Final = [f"/{quote(text, safe='')}" for text in _blends()]  # of no pattern at all
