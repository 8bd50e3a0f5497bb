"""Owns logging in and out: argon2, the same answer for every failure, and a limit per account and per address."""

from __future__ import annotations

import hashlib
import logging
from datetime import timedelta
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.contrib.auth import views as auth
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache

from auditlog.errors import Problem
from auditlog.web import zones
from auditlog.web.access import access_of
from auditlog.web.guard import failure
from auditlog.web.models import LoginFailure

log = logging.getLogger(__name__)

WINDOW: Final = timedelta(minutes=15)
PER_ACCOUNT: Final = 10
PER_ADDRESS: Final = 50  # an office may sit behind one address


def account_digest(name: str) -> bytes:
    return salted_hmac("auditlog.login", name.strip().lower()[:150], algorithm="sha256").digest()


def throttled(request: HttpRequest, name: str) -> bool:
    """Whether this account or this address has failed too often. The account need not exist: nobody learns whether it does."""
    since = timezone.now() - WINDOW
    recent = LoginFailure.objects.filter(at__gte=since)
    if recent.filter(account=account_digest(name)).count() >= PER_ACCOUNT:
        return True
    return recent.filter(address=request.META.get("REMOTE_ADDR") or None).count() >= PER_ADDRESS


def failed(request: HttpRequest, name: str) -> None:
    LoginFailure.objects.filter(at__lt=timezone.now() - 4 * WINDOW).delete()
    LoginFailure.objects.create(account=account_digest(name), address=request.META.get("REMOTE_ADDR") or None)
    user = get_user_model().objects.filter(username=name).first()
    access = access_of(request, user) if user is not None else None
    try:
        if access is not None:
            access.record("login.failed")  # at most PER_ACCOUNT in WINDOW
    except Problem:
        pass  # nothing is granted by it, and the log has it
    log.info("login.failed", extra={"account": hashlib.sha256(account_digest(name)).hexdigest()[:12]})


class LoginForm(AuthenticationForm):
    error_messages = {
        "invalid_login": "That name and password do not belong together.",
        "inactive": "That name and password do not belong together.",
        "throttled": "Too many attempts. Wait 15 minutes, then try again.",
    }

    def clean(self) -> dict[str, Any]:
        name = str(self.cleaned_data.get("username") or "")
        request = self.request
        if request is not None and throttled(request, name):
            # Without looking at the password: a right one must not be told from a wrong one while it is being guessed.
            raise ValidationError(self.error_messages["throttled"], code="throttled")
        try:
            return super().clean()
        except ValidationError:
            if request is not None:
                failed(request, name)
            raise


@method_decorator(never_cache, name="dispatch")
class Login(auth.LoginView):
    """`/login`. Django makes a new session key, so that one planted before is worth nothing."""

    template_name = "login.html"
    form_class = LoginForm
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().get_context_data(**kwargs), **zones.context(self.request)}

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        access = access_of(self.request, form.get_user())
        try:
            if access is not None:
                access.record("login")  # before the login: one that leaves no record does not happen
        except Problem as problem:
            return failure(self.request, problem)
        return super().form_valid(form)

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        response = super().form_invalid(form)
        response.status_code = 429 if form.has_error("__all__", "throttled") else 401
        return response


class Logout(auth.LogoutView):
    """`POST /logout`; nothing can be fetched by a link that ends a session."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        access = access_of(request)
        try:
            if access is not None:
                access.record("logout")
        except Problem:
            pass  # whoever wants to leave is not kept
        return super().post(request, *args, **kwargs)
