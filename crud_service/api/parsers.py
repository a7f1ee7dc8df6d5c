"""How a request is read, whatever its `Content-Type` and `Accept` say."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from web.fields import Fields, parse_body
from web.media_types import is_encoded
from web.problems import UnsupportedMediaType

# Where the server puts the header `Content-Type` as it was sent; CONTENT_TYPE holds only
# what Django can parse.
CONTENT_TYPE = "chat.content_type"


class AnyBody(BaseParser):
    """Parses the fields of JSON, an urlencoded form or multipart.

    REST framework's own parsers honour a form's `_method`, accept NaN, and refuse bodies that
    both services accept, such as JSON that curl declares a form: `web.fields` has the rules.
    """

    media_type = "*/*"

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Fields:
        """Return the fields; raise MalformedBody (400), UnsupportedMediaType (415)."""
        meta = (parser_context or {})["request"].META
        if is_encoded(meta.get("HTTP_CONTENT_ENCODING", "")):
            raise UnsupportedMediaType
        sent = meta.get(CONTENT_TYPE, meta.get("CONTENT_TYPE"))
        return parse_body(sent, stream.read(), orjson.loads)


class OneOfEach(BaseContentNegotiation):
    """There is one parser for every type of body and one renderer: clients choose neither."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser:
        return next(iter(parsers))

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type
