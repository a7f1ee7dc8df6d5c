"""The Django app of the admin site and the management commands; it has no tables."""

from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.db.models.signals import post_migrate


class OperatorsConfig(AppConfig):
    name = "crud_service.operators"
    label = "operators"

    def ready(self) -> None:
        # Django sends post_migrate only for apps with models.
        post_migrate.connect(make_admin, sender=apps.get_app_config("chat"))


def make_admin(**_kwargs: Any) -> None:
    """Ensure after a migration that the operators' user exists, if ADMIN_PASSWORD is set."""
    from crud_service.operators.management.commands.ensure_admin import ensure_admin

    if settings.ADMIN_PASSWORD:
        ensure_admin(settings.ADMIN_PASSWORD)
