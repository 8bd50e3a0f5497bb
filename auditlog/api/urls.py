"""Owns the URLs of the api."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
