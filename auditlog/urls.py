"""Owns which part of the service answers which path."""

from django.urls import include, path, re_path

from auditlog.api import log
from auditlog.api.metrics import Metrics
from auditlog.platform import health

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", Metrics.as_view(), name="metrics"),
    path("log/v1/checkpoint", log.checkpoint, name="log-checkpoint"),
    re_path(r"^log/v1/(?P<name>tile/.+)$", log.tile, name="log-tile"),
    path("api/v1/", include("auditlog.api.urls")),
    path("", include("auditlog.web.urls")),
]

handler400 = "auditlog.web.refusals.unreadable"
handler404 = "auditlog.web.refusals.not_found"
handler500 = "auditlog.web.refusals.broken"
