"""Pagination of the admin's lists without counting millions of rows."""

import re
from functools import cached_property
from typing import Any

from django.core.paginator import Paginator
from django.db import connection
from django.db.models import QuerySet

from contract.paths import parse_number

COUNTED_AT_MOST = 10_000

ESTIMATE = "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = %s::regclass"


class EstimatingPaginator(Paginator):  # type: ignore[type-arg]  # generic in the stubs alone
    """Count rows up to a limit; above it, use PostgreSQL's estimate for the whole table.

    `is_searched` rows are part of the table, of which there is no estimate.
    """

    is_searched = False

    @cached_property
    def count(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        counted = rows.order_by().values("pk")[: COUNTED_AT_MOST + 1].count()
        if counted <= COUNTED_AT_MOST:
            return counted
        if self.is_searched:
            return COUNTED_AT_MOST
        return max(counted, estimated_rows(rows.model._meta.db_table))


def estimated_rows(table: str) -> int:
    """Return PostgreSQL's estimate of a table's rows, as of its last ANALYZE or VACUUM."""
    with connection.cursor() as cursor:
        cursor.execute(ESTIMATE, (table,))
        (rows,) = cursor.fetchone() or (0,)
    return int(rows)


def path_filters(term: str, names: tuple[str, ...]) -> dict[str, str | int] | None:
    """Parse a search term, a token and numbers as in a path: `TOKEN 1 2` or `TOKEN/1/2`.

    Returns filters with the lookups in `names`, one per part, or None if it is no such path.
    """
    parts = [part for part in re.split(r"[\s/]+", term) if part not in {"", "chats", "messages"}]
    parts = parts[1:] if parts[:1] == ["applications"] else parts
    if not parts or len(parts) > len(names):
        return None
    numbers = [parse_number(part) for part in parts[1:]]
    if None in numbers:
        return None
    return dict(zip(names, [parts[0], *(n for n in numbers if n is not None)], strict=False))
