"""GETs answered without Django: on the event loop, but for lists, which take a thread."""
