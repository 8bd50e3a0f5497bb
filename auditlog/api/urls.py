"""Owns the addresses of the read API. `POST /api/v1/events` is ingest's and never comes here."""

from django.urls import path, re_path

from auditlog.api import errors, events, sessions, status

urlpatterns = [
    path("sessions", sessions.SessionList.as_view(), name="api-sessions"),
    path("sessions/<str:key>", sessions.SessionDetail.as_view(), name="api-session"),
    path("sessions/<str:key>/timeline", sessions.Timeline.as_view(), name="api-timeline"),
    path("events", events.EventList.as_view(), name="api-events"),
    path("events/<str:public_id>", events.EventDetail.as_view(), name="api-event"),
    path("events/<str:public_id>/raw", events.EventRaw.as_view(), name="api-event-raw"),
    path("status", status.Status.as_view(), name="api-status"),
    re_path(r"^.*$", errors.no_such_path),
]
