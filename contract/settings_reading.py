"""Reads values of settings from the environment, alike in both services."""

import logging
import sys
from collections.abc import Mapping


class SettingsError(Exception):
    """The environment does not allow the service to start; the message says why."""


def whole_number(
    env: Mapping[str, str], name: str, default: int, *, least: int = 0, most: int = sys.maxsize
) -> int:
    """Read a whole number; raises SettingsError for anything else.

    Args:
        env: the environment.
        name: the variable.
        default: what it counts as if it is unset or empty.
        least, most: the bounds, inclusive.
    """
    text = env.get(name) or str(default)
    if not text.isdecimal() or int(text) < least:
        kind = "positive whole number" if least else "whole number"
        raise SettingsError(f"{name} must be a {kind}, not {text!r}")
    if int(text) > most:
        raise SettingsError(f"{name} must be at most {most:,}, not {text!r}")
    return int(text)


def log_level(env: Mapping[str, str]) -> str:
    """Return the lowest level that is logged, in capitals; raises SettingsError."""
    level = env.get("LOG_LEVEL", "info").upper()
    if level not in logging.getLevelNamesMapping():
        raise SettingsError("LOG_LEVEL must be debug, info, warning or error")
    return level
