"""Owns the addresses of the pages."""

from django.urls import path

from auditlog.web import agents, decision, find, instructions, keys, log, login, members, pins, results, saved, search, settings, views, why
from auditlog.web.dossier import pages as dossier

urlpatterns = [
    path("", search.search, name="search"),
    path("results.csv", results.results_csv, name="results-csv"),
    path("results.json", results.results_json, name="results-json"),
    path("searches", saved.searches, name="searches"),
    path("searches/<int:pk>", saved.detail, name="saved"),
    path("searches/<int:pk>/remove", saved.remove, name="saved-remove"),
    path("find", find.find, name="find"),
    path("login", login.Login.as_view(), name="login"),
    path("logout", login.Logout.as_view(), name="logout"),
    path("sessions/<str:key>", decision.session, name="session"),
    path("sessions/<str:key>/why/<int:number>", why.why, name="why"),
    path("sessions/<str:key>/why/<int:number>/pin", pins.pin, name="pin"),
    path("sessions/<str:key>/why/<int:number>/pins/<int:pk>/remove", pins.unpin, name="unpin"),
    path("sessions/<str:key>/calls/<int:number>/request", decision.model_request, name="request"),
    path("sessions/<str:key>/instructions", instructions.instructions, name="instructions"),
    path("sessions/<str:key>/dossier", dossier.dossier, name="dossier"),
    path("sessions/<str:key>/dossier.pdf", dossier.dossier_pdf, name="dossier-pdf"),
    path("events/<str:public_id>", views.event, name="event"),
    path("agents", agents.counted, name="agents"),
    path("log", log.log, name="log"),
    path("quarantine", views.unreadable, name="quarantine"),
    path("settings", settings.settings, name="settings"),
    path("settings/password", settings.password, name="password"),
    path("settings/keys", keys.create, name="keys"),
    path("settings/keys/<int:pk>", keys.detail, name="key"),
    path("settings/keys/<int:pk>/rotate", keys.rotate, name="key-rotate"),
    path("settings/keys/<int:pk>/revoke", keys.revoke, name="key-revoke"),
    path("settings/members", members.add, name="members"),
    path("settings/members/<int:pk>", members.detail, name="member"),
    path("settings/members/<int:pk>/remove", members.remove, name="member-remove"),
    path("settings/members/<int:pk>/link", members.link, name="member-link"),
    path("welcome/<str:uidb64>/<str:token>", members.Welcome.as_view(), name="welcome"),
]
