"""GETs answered without Django: on the event loop; lists and searches take a thread."""
