"""The format of events (WHATWG HTML, 9.2 "Server-sent events")."""

# A client that has lost its connection opens another after this many milliseconds. No blank line
# follows, so that the first event's block begins here: a block of its own, without an id, would
# have the client forget the id that it came with.
RETRY = b"retry: 2000\n"
HEARTBEAT = b":\n\n"


def event(name: str, event_id: str, data: str) -> bytes:
    """Return an event; none of its parts may have a line end.

    Args:
        name: its type.
        event_id: the cursor behind it.
        data: JSON.
    """
    return f"event: {name}\nid: {event_id}\ndata: {data}\n\n".encode()
