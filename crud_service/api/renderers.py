"""How an answer is written: JSON, most of which PostgreSQL has rendered already."""

from collections.abc import Mapping
from typing import Any

import orjson
from rest_framework.renderers import BaseRenderer


class Json(BaseRenderer):
    """Passes bytes on as they are and encodes anything else."""

    media_type = "application/json"
    format = "json"
    charset = None  # JSON is UTF-8; it has no such parameter

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        if data is None:
            return b""
        return data if isinstance(data, bytes) else orjson.dumps(data)
