"""Path converters: what does not match is answered 404, before any store is asked."""

from django.urls import register_converter
from django.urls.converters import StringConverter

from contract.paths import NUMBER_PATTERN, TOKEN_PATTERN, parse_number


class AccessTokenConverter(StringConverter):
    """`<token:access_token>`"""

    regex = TOKEN_PATTERN


class NumberConverter:
    """`<number:chat_number>`: a number of a chat or message, 1 to 2^63-1."""

    regex = NUMBER_PATTERN

    def to_python(self, value: str) -> int:
        """Return the number; raise ValueError, which means no match, if it is too large."""
        number = parse_number(value)
        if number is None:
            raise ValueError(value)
        return number

    def to_url(self, value: int) -> str:
        return str(value)


def register() -> None:
    """Register the converters of paths, `<token:…>` and `<number:…>`, with Django."""
    register_converter(AccessTokenConverter, "token")
    register_converter(NumberConverter, "number")
