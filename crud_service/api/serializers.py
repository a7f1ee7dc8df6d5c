"""The fields that requests may hold, and their validation."""

from typing import Any, ClassVar, get_args

from rest_framework import serializers

from crud_service.api.lists.pages import DEFAULT_LIMIT, parse_limit
from crud_service.search.query.search import Sort
from web.fields import check_keyword, check_message_body, check_name
from web.problems import ValidationFailed

SORTS: tuple[Sort, ...] = get_args(Sort)


def parse_search_cursor(value: object) -> str:
    """Check that a cursor is a string; whether it fits is seen by the search."""
    if not isinstance(value, str):
        raise ValidationFailed("cursor", "Must be a string.")
    return value


def parse_sort(value: object) -> Sort:
    """Parse the order of results; raise ValidationFailed (422)."""
    for sort in SORTS:
        if value == sort:
            return sort
    raise ValidationFailed("sort", f"Must be one of {', '.join(SORTS)}.")


def parse_highlight(value: object) -> bool:
    """Parse the highlight flag from a query string or JSON; raise ValidationFailed (422)."""
    if value in ("false", False):
        return False
    if value in ("true", True):
        return True
    raise ValidationFailed("highlight", "Must be true or false.")


class Checked(serializers.Field[Any, Any, Any, Any]):
    """A field with a check that returns the value or raises ValidationFailed.

    REST framework's own fields are lenient: they take numbers for strings and `yes` for true.
    The checks of `web.fields` hold for the numbering service as well.
    """

    default_error_messages: ClassVar = {"required": "Is required.", "null": "Must be a string."}
    check: ClassVar[Any]

    def to_internal_value(self, data: Any) -> Any:
        try:
            return self.check(data)
        except ValidationFailed as error:
            messages = [each["message"] for each in error.errors]
            raise serializers.ValidationError(messages) from error


class NameField(Checked):
    check = staticmethod(check_name)


class BodyField(Checked):
    check = staticmethod(check_message_body)


class KeywordField(Checked):
    check = staticmethod(check_keyword)


class LimitField(Checked):
    check = staticmethod(parse_limit)


class SortField(Checked):
    check = staticmethod(parse_sort)


class HighlightField(Checked):
    check = staticmethod(parse_highlight)


class CursorField(Checked):
    check = staticmethod(parse_search_cursor)


class ApplicationFields(serializers.Serializer[Any]):
    """What a client sends to create or rename an application."""

    name = NameField()


class MessageFields(serializers.Serializer[Any]):
    """What a client sends to edit a message."""

    body = BodyField()


class SearchFields(serializers.Serializer[Any]):
    """The parameters of a search."""

    keyword = KeywordField()
    limit = LimitField(default=DEFAULT_LIMIT)
    sort = SortField(default="relevance")
    highlight = HighlightField(default=False)
    cursor = CursorField(default=None, allow_null=True)
