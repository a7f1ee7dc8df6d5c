"""`python -m crud_service.manage check_index`"""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from elasticsearch import ApiError, TransportError
from tqdm import tqdm  # type: ignore[import-untyped]

from crud_service.search.check import Report, check
from crud_service.search.indexer import connect, has_elasticsearch
from crud_service.search.repair import repair
from crud_service.search.wake_up import wake_indexer

SHOWN = 20


class Command(BaseCommand):
    help = (
        "Compares every message with PostgreSQL's search text and with Elasticsearch's document, "
        "by number, version and content. Runs while the system runs, in bounded memory. What "
        "still waits to be indexed is reported as pending and is no difference. Exit code 0: "
        "all is equal; 1: there are differences, which are listed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--repair",
            action="store_true",
            help="have what differs indexed again by the worker; the exit code is 1 all the same",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with connect() as connection:
                (row,) = connection.execute("SELECT count(*) FROM messages").fetchall()
                with tqdm(total=row[0], unit=" messages", file=sys.stderr) as bar:
                    report = check(connection, with_index=has_elasticsearch(), advance=bar.update)
                if options["repair"] and report.differs:
                    repair(connection, report)
                    wake_indexer()
        except (ApiError, TransportError) as error:
            raise CommandError(f"Elasticsearch cannot be asked: {error}") from error
        self.stdout.write(describe(report, with_index=has_elasticsearch()))
        if report.differs:
            raise CommandError(
                "differences were found"
                + ("; they will be indexed again" if options["repair"] else ""),
                returncode=1,
            )


def describe(report: Report, *, with_index: bool) -> str:
    """The report in lines: totals, then the first differences of each kind."""
    places = {"PostgreSQL's search texts": report.texts}
    if with_index:
        places["Elasticsearch"] = report.documents
    lines = [f"{report.checked} messages checked, {report.pending} of them pending"]
    for place, wrong in places.items():
        lines.append(f"{place}: {len(wrong)} differences")
        lines += [f"  message id {id}: {wrong[id]}" for id in sorted(wrong)[:SHOWN]]
        if len(wrong) > SHOWN:
            lines.append(f"  and {len(wrong) - SHOWN} more")
    return "\n".join(lines)
