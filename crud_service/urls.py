"""Every URL of the service.

Each works with and without a trailing slash, without a redirect. The patterns
end in `\\Z` because `$` would also match before a trailing newline.
"""

from collections.abc import Callable
from typing import Any

from django.urls import URLPattern, URLResolver, path, re_path
from django.views.generic import RedirectView

from contract.paths import TOKEN_PATTERN
from crud_service.api.internal_views import ExistingApplicationsView, SequenceView
from crud_service.api.list_views import ApplicationsView, ChatsView, MessagesView
from crud_service.api.path_numbers import numbers_checked
from crud_service.api.search_view import SearchView
from crud_service.api.views import ApplicationView, ChatView, MessageView
from crud_service.monitoring import health, prometheus
from crud_service.operators.site import site
from crud_service.schema import documentation, static_files

APPLICATION = f"^applications/(?P<access_token>{TOKEN_PATTERN})"
CHAT = rf"{APPLICATION}/chats/(?P<chat_number>[1-9][0-9]{{0,18}})"
MESSAGE = rf"{CHAT}/messages/(?P<number>[1-9][0-9]{{0,18}})"
SEQUENCE = f"^internal/sequences/(?P<access_token>{TOKEN_PATTERN})"


def endpoint(pattern: str, view: Callable[..., Any], name: str) -> URLPattern:
    """Return the pattern of a path, with and without a trailing slash."""
    return re_path(rf"{pattern}/?\Z", numbers_checked(view), name=name)


urlpatterns: list[URLPattern | URLResolver] = [
    endpoint(MESSAGE, MessageView.as_view(), "message"),
    endpoint(f"{CHAT}/messages", MessagesView.as_view(), "messages"),
    endpoint(f"{CHAT}/messages/search", SearchView.as_view(), "search"),
    endpoint(CHAT, ChatView.as_view(), "chat"),
    endpoint(f"{APPLICATION}/chats", ChatsView.as_view(), "chats"),
    endpoint(APPLICATION, ApplicationView.as_view(), "application"),
    endpoint("^applications", ApplicationsView.as_view(), "applications"),
    endpoint("^internal/applications", ExistingApplicationsView.as_view(), "existing_applications"),
    endpoint(SEQUENCE, SequenceView.as_view(), "chat_sequence"),
    endpoint(
        f"{SEQUENCE}/(?P<chat_number>[1-9][0-9]{{0,18}})",
        SequenceView.as_view(),
        "message_sequence",
    ),
    endpoint("^health/live", health.LiveView.as_view(), "health_live"),
    endpoint("^health/ready", health.ReadyView.as_view(), "health_ready"),
    endpoint("^metrics", prometheus.MetricsView.as_view(), "metrics"),
    endpoint(r"^openapi\.json", documentation.OpenApiView.as_view(), "openapi"),
    endpoint("^docs", documentation.DocsView.as_view(), "docs"),
    re_path(r"^static/(?P<path>.+)\Z", static_files.StaticView.as_view(), name="static"),
    path("admin", RedirectView.as_view(url="/admin/")),
    path("admin/", site.urls),
]

handler404 = "crud_service.api.responses.not_found"
handler500 = "crud_service.api.responses.server_error"
