"""The one Django app of the service."""

from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.db.models.signals import post_migrate


class ChatConfig(AppConfig):
    name = "crud_service.chat"
    label = "chat"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        post_migrate.connect(make_admin, sender=self)


def make_admin(**_kwargs: Any) -> None:
    """Once the tables are there, see that the operators' user is, where it has a password."""
    from crud_service.chat.management.commands.ensure_admin import ensure_admin

    if settings.ADMIN_PASSWORD:
        ensure_admin(settings.ADMIN_PASSWORD)
