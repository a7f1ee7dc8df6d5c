"""`python -m crud_service.manage requeue`: put set-aside entries back."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from crud_service.chat.models import SetAsideEntry
from crud_service.operators.system_checks import COMMAND_CHECKS
from crud_service.persist.requeue import requeue


class Command(BaseCommand):
    requires_system_checks = COMMAND_CHECKS
    help = (
        "Stores set-aside entries, with their original numbers and times, once their obstacle is "
        "removed. Exit code 0: all were stored; 1: some could not be, with the reason for each; "
        "2: a store does not answer."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "entry_id", nargs="*", help="entry ids as shown in /admin/; without any, all entries"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        requeued = requeue(find_rows(options["entry_id"]))
        for entry_id, obstacle in requeued.left:
            self.stderr.write(f"{entry_id}: {obstacle}")
        self.stdout.write(requeued.describe())
        if requeued.left:
            raise CommandError("some entries could not be stored", returncode=1)


def find_rows(entry_ids: list[str]) -> list[int] | None:
    """Return the row ids of the named entries, None for all; raise CommandError for unknown ids."""
    if not entry_ids:
        return None
    rows = list(SetAsideEntry.objects.filter(entry_id__in=entry_ids).values_list("entry_id", "id"))
    found = {entry_id for entry_id, _ in rows}
    missing = [entry_id for entry_id in entry_ids if entry_id not in found]
    if missing:
        raise CommandError(f"not set aside: {', '.join(missing)}")
    return [row_id for _, row_id in rows]
