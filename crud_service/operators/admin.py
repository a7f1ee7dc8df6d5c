"""Admin pages for operators: read everything, correct and delete, requeue set-aside entries.

Nothing can be added here: that would leave numbers without an owner.
"""

import json
from typing import Any
from uuid import uuid4

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse

from contract.paths import mask_token
from crud_service.api.deleting import delete_application, delete_chat, delete_message
from crud_service.api.etags import Preconditions
from crud_service.api.rotation.rotating import rotate
from crud_service.api.writing import edit_message, rename_application
from crud_service.chat.models import Application, Chat, Conflict, Deletion, Message, SetAsideEntry
from crud_service.chat.own_limits import LimitChange, OwnLimit

# Registers the pages of search: Django imports only modules named `admin` by itself.
from crud_service.operators import search_admin as search_admin
from crud_service.operators.deletable_admin import DeletableAdmin
from crud_service.operators.forms import ApplicationForm, MessageForm
from crud_service.operators.site import site
from crud_service.operators.table_admin import TableAdmin
from crud_service.persist.requeue import requeue
from crud_service.transfer.unfinished import HIDDEN
from web.problems import MessageDeleted, PreconditionFailed, Problem


class CorrectableAdmin(TableAdmin):
    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return [*self.editable, "state", *self.get_readonly_fields(request, obj)]

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show the form again if the row was changed after the form itself checked it."""
        try:
            return super().changeform_view(request, *args, **kwargs)
        except (PreconditionFailed, MessageDeleted):
            return super().changeform_view(request, *args, **kwargs)


def state_of(form: "ModelForm[Any]") -> Preconditions:
    """Return the state that the form was rendered from; the row must still have it on save."""
    return Preconditions(if_match=form.cleaned_data["state"])


@admin.register(Application, site=site)
class ApplicationAdmin(DeletableAdmin, CorrectableAdmin):
    list_display = ("access_token", "name", "chat_count", "rate_limit", "created_at", "updated_at")
    editable = ("name", "rate_limit", "rate_burst", "limit_state")
    form = ApplicationForm
    actions = ("rotate_tokens",)

    @admin.action(description="Give them new access tokens", permissions=["change"])
    def rotate_tokens(self, request: HttpRequest, queryset: QuerySet[Application]) -> None:
        """Rotate the tokens of the selected applications; the history says of which."""
        for application in queryset:
            former = application.access_token
            try:
                rotated = rotate(former, f"admin {uuid4()}")
            except Problem as problem:
                text = f"{mask_token(former)}: {problem.detail}"
                self.message_user(request, text, messages.ERROR)
                continue
            token = json.loads(rotated.application)["access_token"]
            change = f"Access token {mask_token(former)} rotated to {mask_token(token)}."
            self.log_change(request, application, change)
            text = f"{application.name}: the new access token is {token}"
            self.message_user(request, text, messages.SUCCESS)

    def save_model(
        self, request: HttpRequest, obj: Application, form: "ModelForm[Any]", change: bool
    ) -> None:
        limit = None
        if {"rate_limit", "rate_burst"} & set(form.changed_data):
            seen = OwnLimit(form.initial["rate_limit"], form.initial["rate_burst"])
            limit = LimitChange(seen, OwnLimit(obj.rate_limit, obj.rate_burst))
        if rename_application(obj.access_token, obj.name, state_of(form), limit) is None:
            raise PreconditionFailed

    def get_queryset(self, request: HttpRequest) -> QuerySet[Application]:
        """Leave out those that are being imported or erased: nobody else can see them either."""
        found: QuerySet[Application] = super().get_queryset(request)
        return found.filter(deleted_at=None).exclude(access_token__startswith=HIDDEN)

    def access_token_of(self, obj: Application) -> str:
        return obj.access_token

    def delete_model(self, request: HttpRequest, obj: Application) -> None:
        delete_application(obj.access_token, Preconditions())


@admin.register(Chat, site=site)
class ChatAdmin(DeletableAdmin):
    list_display = ("id", "application", "number", "name", "message_count", "created_at")
    parents = ("application",)
    path_lookups = ("application__access_token", "number")

    def access_token_of(self, obj: Chat) -> str:
        return obj.application.access_token

    def delete_model(self, request: HttpRequest, obj: Chat) -> None:
        delete_chat(obj.application.access_token, obj.number, Preconditions())


@admin.register(Message, site=site)
class MessageAdmin(DeletableAdmin, CorrectableAdmin):
    list_display = ("id", "chat", "number", "sender", "shortened_body", "version", "created_at")
    parents = ("chat__application",)
    path_lookups = ("chat__application__access_token", "chat__number", "number")
    editable = ("body",)
    form = MessageForm

    @admin.display(description="body")
    def shortened_body(self, message: Message) -> str:
        return message.body if len(message.body) <= 80 else f"{message.body[:80]}…"

    def save_model(
        self, request: HttpRequest, obj: Message, form: "ModelForm[Any]", change: bool
    ) -> None:
        chat = obj.chat
        token = chat.application.access_token
        body = {"body": obj.body}
        if edit_message(token, chat.number, obj.number, body, state_of(form)) is None:
            raise PreconditionFailed

    def access_token_of(self, obj: Message) -> str:
        return obj.chat.application.access_token

    def is_final(self, obj: Any) -> bool:
        return super().is_final(obj) or (obj is not None and obj.chat.deleted_at is not None)

    def delete_model(self, request: HttpRequest, obj: Message) -> None:
        chat = obj.chat
        delete_message(chat.application.access_token, chat.number, obj.number, Preconditions())


@admin.register(Deletion, site=site)
class DeletionAdmin(TableAdmin):
    list_display = ("id", "access_token", "chat_number", "erased", "requested_at")
    path_lookups = ("access_token", "chat_number")


@admin.register(Conflict, site=site)
class ConflictAdmin(TableAdmin):
    list_display = ("entry_id", "access_token", "chat_number", "number", "recorded_at")
    path_lookups = ("access_token", "chat_number", "number")


@admin.register(SetAsideEntry, site=site)
class SetAsideEntryAdmin(TableAdmin):
    list_display = ("entry_id", "access_token", "chat_number", "number", "reason", "set_aside_at")
    path_lookups = ("access_token", "chat_number", "number")
    actions = ("requeue_selected",)

    @admin.action(description="Requeue selected entries: store them now", permissions=["act"])
    def requeue_selected(self, request: HttpRequest, queryset: QuerySet[SetAsideEntry]) -> None:
        outcome = requeue(list(queryset.values_list("id", flat=True)))
        level = messages.WARNING if outcome.left else messages.SUCCESS
        self.message_user(request, outcome.describe(), level)
