"""`manage ensure_admin`: create the operator `admin` with the password ADMIN_PASSWORD."""

from functools import partial
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.core.management.base import BaseCommand, CommandParser

from crud_service.operators.system_checks import COMMAND_CHECKS

USERNAME = "admin"


class Command(BaseCommand):
    requires_system_checks = COMMAND_CHECKS
    help = (
        "Creates the user `admin` of /admin/ with the password ADMIN_PASSWORD if it does not "
        "exist; `migrate` does so as well. A changed password is kept."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--reset-password",
            action="store_true",
            help="reset the password to ADMIN_PASSWORD, and restore all permissions",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.ADMIN_PASSWORD:
            self.stdout.write("ADMIN_PASSWORD is not set: no admin user was created.")
            return
        reset = options["reset_password"]
        self.stdout.write(ensure_admin(settings.ADMIN_PASSWORD, reset_password=reset))


def ensure_admin(password: str, *, reset_password: bool = False) -> str:
    """Create the user, or with `reset_password` reset it; return a line that says what was done."""
    users = get_user_model().objects
    store = users.update_or_create if reset_password else users.get_or_create
    # In one statement: a process killed in between would leave a user that nobody can log in as.
    values = {
        "is_staff": True,
        "is_superuser": True,
        "is_active": True,
        "password": partial(make_password, password),  # called only where it is stored
    }
    _, created = store(username=USERNAME, defaults=values)
    if not created and not reset_password:
        return f"The user {USERNAME} already exists and was left unchanged."
    return f"The user {USERNAME} was {'created' if created else 'reset'}."
