"""Owns the WSGI application: Django as the web process serves it."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "auditlog.settings")

application = get_wsgi_application()
