"""`python -m crud_service.manage rebuild_index`"""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from elasticsearch import ApiError, TransportError
from tqdm import tqdm  # type: ignore[import-untyped]

from crud_service.operators.interruption import exit_on_signals
from crud_service.operators.system_checks import COMMAND_CHECKS
from crud_service.postgresql import INDEXER
from crud_service.search.feed.rebuild import RebuildRunning, Rejected, SwapUnknown, rebuild
from crud_service.search.feed.start_over import AliasTaken
from crud_service.search.index.elasticsearch_index import has_elasticsearch
from crud_service.stores.database import connect_as


class Command(BaseCommand):
    requires_system_checks = COMMAND_CHECKS
    help = (
        "Builds a new search index, then swaps the alias. Can run on a live system: searches use "
        "the old index meanwhile, and changes reach both. If interrupted, it removes the "
        "unfinished index; if killed, the worker does. Use it when check_index finds more than "
        "--repair should handle."
    )

    @exit_on_signals()
    def handle(self, *args: Any, **options: Any) -> None:
        if not has_elasticsearch():
            raise CommandError("ELASTICSEARCH_URL is not set: PostgreSQL's search needs no rebuild")
        try:
            with connect_as(INDEXER) as connection:
                (row,) = connection.execute("SELECT count(*) FROM search_texts").fetchall()
                with tqdm(total=row[0], unit=" messages", file=sys.stderr) as bar:
                    name = rebuild(connection, bar.update)
        except RebuildRunning:
            raise CommandError("another rebuild is running") from None
        except AliasTaken as error:
            raise CommandError(
                f"SEARCH_INDEX points to {error}, which another stack created; nothing was changed"
            ) from None
        except SwapUnknown as error:
            raise CommandError(
                "Elasticsearch failed while the alias was swapped, and whether it was is unknown: "
                f"{error}. If neither index is left, the worker fills a new one, and PostgreSQL "
                "answers searches until then"
            ) from error
        except Rejected as error:
            raise CommandError(
                f"Elasticsearch rejects {error}, nothing was changed: it may be overloaded, so "
                "look at its log and try again"
            ) from error
        except (ApiError, TransportError) as error:
            raise CommandError(f"Elasticsearch failed, nothing was changed: {error}") from error
        self.stdout.write(f"the alias now points to {name}")
