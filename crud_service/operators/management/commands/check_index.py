"""`python -m crud_service.manage check_index`"""

import sys
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from elasticsearch import ApiError, TransportError
from tqdm import tqdm  # type: ignore[import-untyped]

from crud_service.operators.interruption import exit_on_signals
from crud_service.operators.system_checks import COMMAND_CHECKS
from crud_service.postgresql import INDEXER
from crud_service.search.feed.check import Check
from crud_service.search.feed.check_blocks import check_blocks, count_blocks
from crud_service.search.feed.check_report import Report
from crud_service.search.feed.repair import repair, restore_settings
from crud_service.search.index.doorbell import wake_indexer
from crud_service.search.index.elasticsearch_index import has_elasticsearch
from crud_service.stores.database import connect_as


class Command(BaseCommand):
    requires_system_checks = COMMAND_CHECKS
    help = (
        "Compares every message with PostgreSQL's search text and with Elasticsearch's document, "
        "by number, version and content, and every block of PostgreSQL's search with its "
        "texts. Can run on a live system, in bounded memory. Changes that are not indexed yet "
        "are reported as pending, not as differences. Exit code 0: no differences; "
        "1: differences, which are listed; 2: a store does not answer."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--repair",
            action="store_true",
            help="repair blocks, and have the worker index differing messages again; "
            "the exit code is still 1",
        )

    @exit_on_signals()
    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with connect_as(INDEXER) as connection:
                (row,) = connection.execute("SELECT count(*) FROM messages").fetchall()
                if has_elasticsearch():
                    restore_settings(connection)
                mend = partial(repair, connection) if options["repair"] else None
                with tqdm(total=row[0], unit=" messages", file=sys.stderr) as bar:
                    check = Check(connection, with_index=has_elasticsearch(), mend=mend)
                    report = check.run(bar.update)
                with tqdm(total=count_blocks(connection), unit=" blocks", file=sys.stderr) as bar:
                    check_blocks(connection, report, mend=options["repair"], advance=bar.update)
        except (ApiError, TransportError) as error:
            raise CommandError(f"Elasticsearch does not answer: {error}", returncode=2) from error
        if options["repair"] and report.differs:
            wake_indexer()
        self.stdout.write(describe(report, with_index=has_elasticsearch()))
        if report.differs:
            raise CommandError(
                "differences were found"
                + ("; they will be indexed again" if options["repair"] else ""),
                returncode=1,
            )


def describe(report: Report, *, with_index: bool) -> str:
    places = {
        "PostgreSQL's search texts": report.texts,
        "PostgreSQL's search blocks": report.blocks,
    }
    if with_index:
        places["Elasticsearch"] = report.documents
    lines = [f"{report.checked} messages checked, {report.pending} of them pending"]
    for place, wrong in places.items():
        lines.append(f"{place}: {wrong.count} differences")
        lines += [f"  {sample}" for sample in wrong.samples]
        if wrong.count > len(wrong.samples):
            lines.append(f"  and {wrong.count - len(wrong.samples)} more")
    return "\n".join(lines)
