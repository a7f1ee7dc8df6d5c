"""The version of both services, the same as in `pyproject.toml`, which is in no image."""

VERSION = "1.0.0"
