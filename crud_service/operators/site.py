"""The admin site: Django's admin with the system's state on its start page."""

import time
from http import HTTPStatus
from typing import Any

import redis
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from crud_service.monitoring.request_metrics import REGISTRY
from crud_service.monitoring.store_metrics import backlog, read_gauges
from crud_service.server import logins


class OperatorsSite(AdminSite):
    site_header = site_title = "Chat backend"
    index_title = "State"
    index_template = "operators_index.html"
    site_url = None
    enable_nav_sidebar = False

    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        started = time.monotonic()
        response = super().login(request, extra_context)
        if request.method == "POST":
            if response.status_code == HTTPStatus.FOUND:
                logins.remember_browser(response)
            else:
                logins.pace(started)
        return response

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        context = {
            **(extra_context or {}),
            "state": [*backlog_state(), *stream_state(), *index_state()],
        }
        return super().index(request, context)


def backlog_state() -> list[tuple[str, str]]:
    try:
        found = backlog()
    except (redis.RedisError, OSError):
        return [("Backlog", "unknown: Redis does not answer")]
    oldest = f"the oldest {found.oldest_age_seconds:.1f} s ago"
    return [("Backlog", f"{found.entries} accepted but not yet stored, {oldest}")]


def stream_state() -> list[tuple[str, str]]:
    count = REGISTRY.get_sample_value("chat_live_streams_open") or 0
    return [("Streams", f"{count:.0f} open in the process that answers, lists that wait included")]


def index_state() -> list[tuple[str, str]]:
    return [
        (text.rstrip("."), f"{value:.1f} s" if name.endswith("_seconds") else str(value))
        for name, text, value in read_gauges()
    ]


site = OperatorsSite(name="admin")
site.disable_action("delete_selected")  # see `DeletableAdmin`
