"""`python -m crud_service.manage reshard`: change the number of shards."""

from argparse import ArgumentTypeError
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from contract.settings_reading import names_redis
from crud_service.operators.system_checks import COMMAND_CHECKS
from crud_service.persist.reshard import AnotherChangeError, LeftBehindError, reshard


class Command(BaseCommand):
    requires_system_checks = COMMAND_CHECKS
    help = (
        "Changes the number of shards to SHARDS, while neither numbering_service nor crud_service "
        "nor a worker is running. Waits until everything is stored. It may be interrupted, and is "
        "finished by running it again; until then no process starts."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--former-url",
            type=former_url,
            default=settings.REDIS_URL,
            help="where the former shards are, if not at REDIS_URL",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            reshard(options["former_url"], self.stdout.write)
        except (AnotherChangeError, LeftBehindError) as error:
            raise CommandError(str(error)) from error


def former_url(url: str) -> str:
    """Return a URL of Redis as it is; raises ArgumentTypeError for anything else."""
    if not names_redis(url):
        raise ArgumentTypeError("must be a redis:// or rediss:// URL")
    return url
