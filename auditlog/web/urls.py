"""Owns the addresses of the pages."""

from django.urls import path

from auditlog.web import find, login, views

urlpatterns = [
    path("", views.search, name="search"),
    path("find", find.find, name="find"),
    path("login", login.Login.as_view(), name="login"),
    path("logout", login.Logout.as_view(), name="logout"),
    path("sessions/<str:key>", views.session, name="session"),
    path("events/<str:public_id>", views.event, name="event"),
]
