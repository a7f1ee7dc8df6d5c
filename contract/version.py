"""The version of both services, as `pyproject.toml` has it, which no image holds."""

VERSION = "0.1.0"
