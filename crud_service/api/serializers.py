"""The fields that requests may hold: their validation, and their schemas for the documentation."""

from typing import Any, ClassVar, get_args

from rest_framework import serializers

from crud_service.api.lists.list_request import DEFAULT_LIMIT, MAX_LIMIT, parse_limit
from crud_service.chat.filters import check_created_after, check_created_before
from crud_service.search.query.search import Sort
from web.fields import (
    MAX_BODY_BYTES,
    MAX_KEYWORD_CHARACTERS,
    MAX_NAME_CHARACTERS,
    MAX_SENDER_CHARACTERS,
    check_keyword,
    check_message_body,
    check_name,
    check_sender,
)
from web.metadata import check_metadata
from web.openapi import METADATA, text_schema
from web.problems import ValidationFailed

SORTS: tuple[Sort, ...] = get_args(Sort)


def parse_search_cursor(value: object) -> str:
    """Check that a cursor is a string, else raise 422; whether it fits is seen by the search."""
    if not isinstance(value, str):
        raise ValidationFailed("cursor", "Must be a string.")
    return value


def parse_sort(value: object) -> Sort:
    """Check the order of a search; raises 422."""
    for sort in SORTS:
        if value == sort:
            return sort
    raise ValidationFailed("sort", f"Must be one of {', '.join(SORTS)}.")


def parse_highlight(value: object) -> bool:
    """Read true or false, as JSON or as text; raises 422 for anything else, 1 and 0 included."""
    if value is False or value == "false":  # 0 == False
        return False
    if value is True or value == "true":
        return True
    raise ValidationFailed("highlight", "Must be true or false.")


class Checked(serializers.Field[Any, Any, Any, Any]):
    """A field with a check that returns the value or raises ValidationFailed.

    REST framework's own fields are lenient: they take numbers for strings and `yes` for true.
    The checks of `web.fields` hold for the numbering service as well.
    """

    default_error_messages: ClassVar = {"required": "Is required."}
    check: ClassVar[Any]
    # JSON Schema; may be less strict than the check, but never stricter.
    schema: ClassVar[dict[str, Any]]

    def validate_empty_values(self, data: Any) -> tuple[bool, Any]:
        """Leave null to the check, which knows what the field takes."""
        if data is None and not self.allow_null:
            return False, None
        return super().validate_empty_values(data)

    def to_internal_value(self, data: Any) -> Any:
        try:
            return self.check(data)
        except ValidationFailed as error:
            messages = [each["message"] for each in error.errors]
            raise serializers.ValidationError(messages) from error


class NameField(Checked):
    check = staticmethod(check_name)
    schema = text_schema(MAX_NAME_CHARACTERS, f"1 to {MAX_NAME_CHARACTERS} characters, not blank.")


class BodyField(Checked):
    check = staticmethod(check_message_body)
    schema = text_schema(
        MAX_BODY_BYTES,
        f"1 to {MAX_BODY_BYTES} bytes of UTF-8, not blank; stored exactly as it was sent.",
    )


class MetadataField(Checked):
    check = staticmethod(check_metadata)
    schema = METADATA


class KeywordField(Checked):
    check = staticmethod(check_keyword)
    schema = text_schema(
        MAX_KEYWORD_CHARACTERS,
        "Parts separated by white space. A message matches if each part occurs in it, also inside "
        "a word, ignoring case, accents and width. No character has a special meaning. Can be sent "
        "in a body as well.",
    )


class LimitField(Checked):
    check = staticmethod(parse_limit)
    schema: ClassVar = {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_LIMIT,
        "description": "The maximum size of a page.",
    }


class SortField(Checked):
    check = staticmethod(parse_sort)
    schema: ClassVar = {
        "type": "string",
        "enum": list(SORTS),
        "description": "Best match, lowest number or highest number first.",
    }


class HighlightField(Checked):
    check = staticmethod(parse_highlight)
    schema: ClassVar = {"type": "boolean", "description": "Add `highlight` to each message."}


class CursorField(Checked):
    check = staticmethod(parse_search_cursor)
    schema: ClassVar = {"type": "string", "description": "Where to continue: from a `next` link."}


class SenderField(Checked):
    check = staticmethod(check_sender)
    schema = text_schema(MAX_SENDER_CHARACTERS, "Only messages of this sender.")


def time_schema(description: str) -> dict[str, Any]:
    date, time = "[0-9]{4}(-[0-9]{2}){2}", "[0-9]{2}(:[0-9]{2}){2}([.][0-9]+)?"
    return {
        "type": "string",
        "format": "date-time",
        "pattern": f"^{date}[Tt ]{time}([Zz]|[+ -][0-9]{{2}}:[0-9]{{2}})$",
        "description": description,
    }


class CreatedAfterField(Checked):
    check = staticmethod(check_created_after)
    schema = time_schema("Only messages created after this time (RFC 3339 with a zone).")


class CreatedBeforeField(Checked):
    check = staticmethod(check_created_before)
    schema = time_schema("Only messages created before this time (RFC 3339 with a zone).")


class ApplicationFields(serializers.Serializer[Any]):
    name = NameField()


class AtLeastOne(serializers.Serializer[Any]):
    """Fields of which one at least has to be sent."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs:
            first, *others = self.fields
            message = f"Is required unless {' or '.join(others)} is sent."
            raise serializers.ValidationError({first: [message]})
        return attrs


class MessageFields(AtLeastOne):
    body = BodyField(required=False)
    metadata = MetadataField(required=False, allow_null=True)


class ChatFields(AtLeastOne):
    name = NameField(required=False, allow_null=True)
    metadata = MetadataField(required=False, allow_null=True)


class SearchFields(serializers.Serializer[Any]):
    keyword = KeywordField()
    limit = LimitField(default=DEFAULT_LIMIT)
    sort = SortField(default="relevance")
    highlight = HighlightField(default=False)
    cursor = CursorField(default=None, allow_null=True)
    sender = SenderField(default=None, allow_null=True)
    created_after = CreatedAfterField(default=None, allow_null=True)
    created_before = CreatedBeforeField(default=None, allow_null=True)
