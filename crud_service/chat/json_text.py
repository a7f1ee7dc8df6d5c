"""A column of JSON that keeps the text which it was given."""

from typing import Any

from django.db import models


class JsonText(models.TextField):  # type: ignore[type-arg]  # generic in the stubs alone
    """JSON as text, in a column of type `json`.

    `jsonb` would change numbers and the order of keys, and Django's own field uses it.
    """

    def db_type(self, connection: Any) -> str:
        return "json"

    def select_format(self, compiler: Any, sql: str, params: Any) -> tuple[str, Any]:
        """Read the column as text: psycopg would parse it."""
        return f"{sql}::text", params
