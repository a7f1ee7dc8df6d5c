"""One search: Elasticsearch when it answers, else PostgreSQL, with the same meaning."""

from dataclasses import dataclass
from typing import Any, Literal

Sort = Literal["relevance", "number", "-number"]
Backend = Literal["elasticsearch", "postgresql"]


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """What is asked; the view has checked keyword, limit and sort, the cursor is checked here."""

    keyword: str
    limit: int = 100
    sort: Sort = "relevance"
    highlight: bool = False
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class SearchPage:
    """Messages in the shape of the API, the cursor of the next page if there is one."""

    items: list[dict[str, Any]]
    next_cursor: str | None
    backend: Backend


def search_messages(access_token: str, chat_number: int, query: SearchQuery) -> SearchPage:
    """The messages of a chat that match a keyword.

    Raises NotFound when the chat, or its application, is not there, and
    ValidationFailed on the field `cursor` for one that no page gave out.
    """
    raise NotImplementedError
