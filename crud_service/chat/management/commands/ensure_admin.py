"""`manage ensure_admin`: the operator `admin`, with the password of ADMIN_PASSWORD."""

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand

USERNAME = "admin"


class Command(BaseCommand):
    help = (
        "Creates the user `admin` of /admin/, or gives it the password of ADMIN_PASSWORD. "
        "`migrate` does so as well."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.ADMIN_PASSWORD:
            self.stdout.write("ADMIN_PASSWORD is not set: no user of the admin was made.")
            return
        self.stdout.write(ensure_admin(settings.ADMIN_PASSWORD))


def ensure_admin(password: str) -> str:
    """Create or update the user, and say what was done."""
    user, created = get_user_model().objects.get_or_create(username=USERNAME)
    if not created and user.check_password(password) and user.is_superuser and user.is_active:
        return f"The user {USERNAME} is as it should be."
    user.is_staff = user.is_superuser = user.is_active = True
    user.set_password(password)
    user.save()
    return f"The user {USERNAME} was {'created' if created else 'updated'}."
