"""Owns the WSGI application: Django as the web process serves it."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "auditlog.settings")

application = get_wsgi_application()

from auditlog import tasks  # noqa: E402, F401  (it tells the broker of an export that waits)
