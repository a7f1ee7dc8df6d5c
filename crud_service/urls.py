"""Every URL of the service.

Each path of the API works with and without a trailing slash, without a redirect. GETs of single
resources and of messages, and searches without a body, are answered before they get here, by
`crud_service.reads`, and streams by `crud_service.live`; what those leave to the views is answered
alike.
"""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, path
from django.views.generic import RedirectView

from crud_service.api.converters import register
from crud_service.api.export_view import ExportView
from crud_service.api.internal_views import ExistingApplicationsView, SequenceView
from crud_service.api.lists.list_views import ApplicationsView, ChatsView, MessagesView, SearchView
from crud_service.api.rotation.rotation_view import RotationView
from crud_service.api.views import ApplicationView, ChatView, MessageView
from crud_service.demo_page.page_view import DemoPageView, ToDemoPageView
from crud_service.live.stream_views import ApplicationStreamView, ChatStreamView
from crud_service.monitoring import health, prometheus
from crud_service.operators.site import site
from crud_service.schema import documentation, static_files

register()
admin.autodiscover()

APPLICATION = "applications/<token:access_token>"
CHAT = f"{APPLICATION}/chats/<number:chat_number>"
MESSAGE = f"{CHAT}/messages/<number:message_number>"
SEQUENCE = "internal/sequences/<token:access_token>"


def endpoint(route: str, view: Callable[..., Any], name: str) -> list[URLPattern]:
    """Return the patterns of a path, with and without a trailing slash."""
    return [path(route, view, name=name), path(f"{route}/", view, name=name)]


def demo_page() -> list[URLPattern]:
    """Return the chat page, which is also what a local stack shows at its address."""
    demo = endpoint("demo", DemoPageView.as_view(), "demo")
    return [*demo, path("", ToDemoPageView.as_view())]


urlpatterns: list[URLPattern | URLResolver] = [
    *endpoint(MESSAGE, MessageView.as_view(), "message"),
    *endpoint(f"{CHAT}/messages", MessagesView.as_view(), "messages"),
    *endpoint(f"{CHAT}/messages/search", SearchView.as_view(), "search"),
    *endpoint(f"{CHAT}/messages/stream", ChatStreamView.as_view(), "message_stream"),
    *endpoint(CHAT, ChatView.as_view(), "chat"),
    *endpoint(f"{APPLICATION}/chats", ChatsView.as_view(), "chats"),
    *endpoint(f"{APPLICATION}/stream", ApplicationStreamView.as_view(), "application_stream"),
    *endpoint(f"{APPLICATION}/export", ExportView.as_view(), "export"),
    *endpoint(f"{APPLICATION}/rotate", RotationView.as_view(), "rotate"),
    *endpoint(APPLICATION, ApplicationView.as_view(), "application"),
    *endpoint("applications", ApplicationsView.as_view(), "applications"),
    *endpoint("internal/applications", ExistingApplicationsView.as_view(), "existing_applications"),
    *endpoint(SEQUENCE, SequenceView.as_view(), "chat_sequence"),
    *endpoint(f"{SEQUENCE}/<number:chat_number>", SequenceView.as_view(), "message_sequence"),
    *endpoint("health/live", health.LiveView.as_view(), "health_live"),
    *endpoint("health/ready", health.ReadyView.as_view(), "health_ready"),
    *endpoint("metrics", prometheus.MetricsView.as_view(), "metrics"),
    *endpoint("openapi.json", documentation.OpenApiView.as_view(), "openapi"),
    *endpoint("docs", documentation.DocsView.as_view(), "docs"),
    *(demo_page() if settings.DEMO_NUMBERING_URL else []),
    path("static/<path:path>", static_files.MissingFileView.as_view(), name="static"),
    path("admin", RedirectView.as_view(url="/admin/")),
    path("admin/", site.urls),
]

handler400 = "crud_service.api.responses.bad_request"
handler404 = "crud_service.api.responses.not_found"
handler500 = "crud_service.api.responses.server_error"
