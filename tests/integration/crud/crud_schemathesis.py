"""A new application for each call that would leave nothing to the calls that follow.

The URL of the database is in CRUD_DATABASE_URL.
"""

import os
import secrets
from typing import Any

import psycopg
import schemathesis

from crud_service.schema.openapi import examples

DESTRUCTIVE = {"rotateToken", "deleteApplication", "deleteChat"}
ADD = """
WITH new AS (INSERT INTO applications (access_token, name, chat_count) VALUES (%s, 'new', 1)
    RETURNING id)
INSERT INTO chats (application_id, number) SELECT id, 1 FROM new
"""


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Name a new application with a chat where the document's example is named."""
    if case.operation.definition.raw.get("operationId") not in DESTRUCTIVE:
        return
    if (case.path_parameters or {}).get("access_token") == examples.TOKEN:
        case.path_parameters["access_token"] = new_application()


def new_application() -> str:
    """Store an application with a chat; return its access token."""
    token = secrets.token_hex(12)
    with psycopg.connect(os.environ["CRUD_DATABASE_URL"], autocommit=True) as connection:
        connection.execute(ADD, (token,))
    return token
