"""GETs that are answered in front of Django."""
