"""Admin pages of search: what waits to be indexed, what failed, and why."""

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import QuerySet
from django.http import HttpRequest

from crud_service.operators.site import site
from crud_service.operators.table_admin import TableAdmin
from crud_service.search.feed.failures import retry_failures
from crud_service.search.models import (
    ChatCoverage,
    Failure,
    IndexState,
    UnfoldedChange,
    UnsentChange,
)


class DerivedAdmin(TableAdmin):
    """Admin of a table whose rows may refer to messages and chats that do not exist.

    The rows referred to are prefetched: a join would hide those without one.
    """

    # Not False: the admin would then join whatever `list_display` refers to.
    list_select_related = ()

    prefetched: ClassVar[tuple[str, ...]] = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related(*self.prefetched)


class ChangeAdmin(DerivedAdmin):
    ordering = ("id",)
    list_display: tuple[str, ...] = ("id", "application", "chat", "number", "changed_at")
    prefetched = ("application", "chat")
    path_lookups = ("application__access_token", "chat__number", "number")


site.register(UnfoldedChange, ChangeAdmin)


@admin.register(UnsentChange, site=site)
class UnsentChangeAdmin(ChangeAdmin):
    list_display = (*ChangeAdmin.list_display, "attempts", "not_before")
    actions = ("send_now",)

    @admin.action(description="Send now: end the pause after a failed attempt", permissions=["act"])
    def send_now(self, request: HttpRequest, queryset: QuerySet[UnsentChange]) -> None:
        count = queryset.filter(not_before__isnull=False).update(not_before=None)
        self.message_user(request, f"{count} no longer paused", messages.SUCCESS)


@admin.register(Failure, site=site)
class FailureAdmin(DerivedAdmin):
    ordering = ("-message_id",)
    list_display = ("message_id", "path", "reason", "failed_at")
    prefetched = ("message__chat__application",)
    path_lookups = (
        "message__chat__application__access_token",
        "message__chat__number",
        "message__number",
    )
    actions = ("retry",)

    @admin.display(description="message", empty_value="deleted")
    def path(self, failure: Failure) -> str | None:
        """Return the message's path as the search box takes it, None if it was deleted."""
        try:
            message = failure.message
            chat = message.chat
            return f"{chat.application.access_token} {chat.number} {message.number}"
        except ObjectDoesNotExist:
            return None

    @admin.action(description="Index again", permissions=["act"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Failure]) -> None:
        count = retry_failures(list(queryset.values_list("pk", flat=True)))
        self.message_user(request, f"{count} queued to be indexed again", messages.SUCCESS)


@admin.register(ChatCoverage, site=site)
class ChatCoverageAdmin(DerivedAdmin):
    ordering = ("-chat_id",)
    list_display = ("chat_id", "chat", "blocks")
    prefetched = ("chat",)
    path_lookups = ("chat__application__access_token", "chat__number")


@admin.register(IndexState, site=site)
class IndexStateAdmin(TableAdmin):
    list_display = ("index_name", "index_format", "building", "fill_chat", "fill_number", "stack")
    search_fields = ()
