"""One example of everything, the same throughout the document."""

import json
from typing import Any

TOKEN = "J4bX0cPlqgVzT9kRwY2mNs6A"  # noqa: S105 - an example, opens nothing
TIME = "2022-08-09T22:17:52.599Z"
LOCATION = f"http://127.0.0.1:3000/applications/{TOKEN}"
LINK = f'<{LOCATION}/chats/1/messages?limit=100&after=100>; rel="next"'

APPLICATION: dict[str, Any] = {
    "name": "Support",
    "access_token": TOKEN,
    "created_at": TIME,
    "updated_at": TIME,
    "chat_count": 1,
}
CHAT: dict[str, Any] = {
    "number": 1,
    "message_count": 1,
    "created_at": TIME,
    "updated_at": TIME,
}
MESSAGE: dict[str, Any] = {
    "number": 1,
    "body": "Hello, Rails!",
    "created_at": TIME,
    "updated_at": TIME,
}
SENDER = "Ann"
METADATA = {"attachments": ["https://files.example/1.png"]}
FIELDS: dict[str, Any] = {
    "name": APPLICATION["name"],
    "body": MESSAGE["body"],
    "metadata": METADATA,
}
PROBLEM: dict[str, Any] = {
    "type": "about:blank",
    "title": "Not Found",
    "status": 404,
    "detail": "There is no such application or chat.",
    "instance": f"/applications/{TOKEN}/chats/2",
    "code": "not_found",
    "request_id": "9f87f3c5ecda000001",
}
HEALTH: dict[str, Any] = {
    "status": "ok",
    "dependencies": {
        "postgresql": {"status": "ok", "latency_ms": 0.24},
        "redis": {"status": "ok", "latency_ms": 0.25},
        "elasticsearch": {"status": "ok", "latency_ms": 2.1},
    },
}
UNAVAILABLE: dict[str, Any] = {
    "status": "unavailable",
    "dependencies": {
        **HEALTH["dependencies"],
        "redis": {"status": "unavailable", "latency_ms": 2000.0},
    },
}
EVENTS = f"""retry: 2000
event: ready
id: 0.0
data: {{"chat_number":1,"highest_number":0,"highest_change":0}}

event: message.created
id: 1.0
data: {json.dumps({**MESSAGE, "chat_number": 1}, separators=(",", ":"))}

"""
