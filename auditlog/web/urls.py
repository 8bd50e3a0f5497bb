"""Owns the addresses of the pages."""

from django.urls import path

from auditlog.web import login, views

urlpatterns = [
    path("", views.search, name="search"),
    path("login", login.Login.as_view(), name="login"),
    path("logout", login.Logout.as_view(), name="logout"),
    path("sessions/<str:key>", views.session, name="session"),
    path("events/<str:public_id>", views.event, name="event"),
]
