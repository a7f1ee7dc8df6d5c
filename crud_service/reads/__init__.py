"""GETs answered without Django."""
