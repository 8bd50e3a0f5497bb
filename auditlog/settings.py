"""Owns the Django settings. What an operator may set is in `auditlog.conf`; this only wires it in."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from typing import Any, Final

from csp.constants import NONCE, NONE, SELF
from psycopg.conninfo import conninfo_to_dict

from auditlog import conf
from auditlog.errors import Problem
from auditlog.secrets import private_file
from auditlog.store import connect

BASE_DIR: Final = conf.ROOT

SECRET_KEY = (
    conf.get("AUDITLOG_SECRET_KEY") or private_file(conf.get("AUDITLOG_DATA") / "django.key", secrets.token_urlsafe(50).encode()).decode()
)
DEBUG = False
ALLOWED_HOSTS = conf.get("AUDITLOG_ALLOWED_HOSTS")

INSTALLED_APPS = [
    "auditlog",
    "agents_app",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "csp",
]
MIDDLEWARE = [
    "auditlog.platform.traced.Traced",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",  # before the static files, which are answered at once: they have a policy like all else
    "auditlog.platform.statics.Files",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "auditlog.web.expiry.Expiry",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "auditlog.urls"
CSRF_FAILURE_VIEW = "auditlog.web.refusals.forged"
WSGI_APPLICATION = "auditlog.wsgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "builtins": ["auditlog.web.tags", "auditlog.web.pieces"],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
            ],
        },
    }
]

# The role decides what a mistake can reach: pages may not touch evidence, whatever their code does (docs/adr/002).
DATABASE_ROLE = os.environ.get("AUDITLOG_DATABASE_ROLE", "web")


def _database(conninfo: str) -> dict[str, Any]:
    options: dict[str, Any] = dict(conninfo_to_dict(conninfo))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": options.pop("dbname", ""),
        "USER": options.pop("user", ""),
        "PASSWORD": options.pop("password", ""),
        "HOST": options.pop("host", ""),
        "PORT": options.pop("port", ""),
        "OPTIONS": options,
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
    }


def _databases() -> dict[str, dict[str, Any]]:
    try:
        return {"default": _database(connect.url(DATABASE_ROLE))}
    except Problem:
        # No database is known yet: `serve` is about to start one, and a type checker needs none. The dummy engine
        # answers every query with ImproperlyConfigured.
        return {"default": {"ENGINE": "django.db.backends.dummy"}}


DATABASES = _databases()
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "/login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/login"

# Behind TLS cookies are sent over TLS only; on the loopback addresses of `make run` there is none.
_TLS = conf.get("AUDITLOG_TLS")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _TLS
SESSION_COOKIE_NAME = "__Host-auditlog" if _TLS else "auditlog"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"  # Strict would log out whoever follows a link from a ticket to /find
CSRF_COOKIE_SAMESITE = "Strict"
SESSION_COOKIE_AGE = conf.get("AUDITLOG_SESSION_LENGTH")  # the ends of a login are in auditlog.web.expiry
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _TLS else None
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if _TLS else 0
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [NONCE],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "form-action": [SELF],
    }
}

# An OpenTelemetry exporter counts a redirect as success and drops its data: this service never makes one by itself.
APPEND_SLASH = False
SECURE_SSL_REDIRECT = False
PREPEND_WWW = False

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

STATICFILES_DIRS = [path for path in (BASE_DIR / "static",) if path.is_dir()]
STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder"]  # the pages use no file of a library
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "auditlog.platform.statics.Hashed"},
}


def _static_root() -> Path:
    """Where the hashed copies lie, which auditlog.platform.statics makes: a folder of their own for every content."""
    digest = hashlib.sha256()
    for folder in STATICFILES_DIRS:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return Path(conf.get("AUDITLOG_DATA")) / "static" / digest.hexdigest()[:16]


STATIC_URL = "/static/"
STATIC_ROOT = _static_root()
WHITENOISE_USE_FINDERS = True  # the originals under their own names, should a copy be missing
WHITENOISE_AUTOREFRESH = False

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["auditlog.api.authentication.KeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["auditlog.api.authentication.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "auditlog.api.errors.handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Auditlog",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": [],
    "SERVE_AUTHENTICATION": [],
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "auditlog.platform.logs.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        # Django's own handlers mail and repeat; ours says everything once
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "django.server": {"handlers": [], "level": "WARNING", "propagate": True},
        "django.security.DisallowedHost": {"handlers": [], "level": "CRITICAL", "propagate": False},
    },
}
