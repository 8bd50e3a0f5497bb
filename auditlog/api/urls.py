"""Owns the addresses of the read API. `POST /api/v1/events` is ingest's and never comes here."""

from django.urls import path, re_path

from auditlog.api import access_log, actions, agents, docs, erasures, errors, events, exports, keeping, log, retention, sessions, status

urlpatterns = [
    path("sessions", sessions.SessionList.as_view(), name="api-sessions"),
    path("sessions/<str:key>", sessions.SessionDetail.as_view(), name="api-session"),
    path("sessions/<str:key>/timeline", sessions.Timeline.as_view(), name="api-timeline"),
    path("actions", actions.ActionList.as_view(), name="api-actions"),
    path("agents", agents.AgentList.as_view(), name="api-agents"),
    path("events", events.EventList.as_view(), name="api-events"),
    path("events/<str:public_id>", events.EventDetail.as_view(), name="api-event"),
    path("events/<str:public_id>/raw", events.EventRaw.as_view(), name="api-event-raw"),
    path("events/<str:public_id>/proof", log.EventProof.as_view(), name="api-event-proof"),
    path("checkpoints", log.CheckpointList.as_view(), name="api-checkpoints"),
    path("holds", retention.HoldList.as_view(), name="api-holds"),
    path("holds/<str:hold>", retention.HoldDetail.as_view(), name="api-hold"),
    path("retention-classes", retention.RetentionClasses.as_view(), name="api-retention-classes"),
    path("retention-classes/<str:class_no>/preview", keeping.RetentionPreview.as_view(), name="api-retention-preview"),
    path("retention-rules", keeping.RetentionRules.as_view(), name="api-retention-rules"),
    path("clock-events", keeping.ClockEvents.as_view(), name="api-clock-events"),
    path("erasures", erasures.ErasureList.as_view(), name="api-erasures"),
    path("erasures/<str:erasure>", erasures.ErasureDetail.as_view(), name="api-erasure"),
    path("erasures/<str:erasure>/preview", erasures.ErasurePreview.as_view(), name="api-erasure-preview"),
    path("access-log", access_log.AccessLogList.as_view(), name="api-access-log"),
    path("exports", exports.ExportList.as_view(), name="api-exports"),
    path("exports/<str:export>", exports.ExportDetail.as_view(), name="api-export"),
    path("exports/<str:export>/releases", exports.ExportReleases.as_view(), name="api-export-releases"),
    path("exports/<str:export>/download", exports.ExportDownload.as_view(), name="api-export-download"),
    path("status", status.Status.as_view(), name="api-status"),
    path("schema", docs.Schema.as_view(), name="api-schema"),
    path("docs", docs.Docs.as_view(), name="api-docs"),
    re_path(r"^.*$", errors.no_such_path),
]
