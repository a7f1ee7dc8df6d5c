"""What is checked and said when a process of the service starts."""

import logging

from crud_service import settings

logger = logging.getLogger(__name__)

# Every value that was ever written down as an example or a default.
KNOWN_SECRETS = frozenset(
    {"", "local", "local-internal-token", "secret", "changeme", "change-me", "admin", "password"}
)
SECRETS = ("SECRET_KEY", "INTERNAL_TOKEN", "ADMIN_PASSWORD")


def refusals() -> list[str]:
    """Why this process must not start: secrets that are missing or known, in a container."""
    if not settings.CONTAINER or settings.LOCAL_STACK:
        return []
    return [
        f"{name} is missing or a default; set it, or LOCAL_STACK=1 for a local stack"
        for name in SECRETS
        if getattr(settings, name).lower() in KNOWN_SECRETS
    ]


def warnings() -> None:
    """Say in the log what is open to everybody."""
    if not settings.ADMIN_TOKEN:
        logger.warning("ADMIN_TOKEN is not set: anybody may list and create applications")
    if not settings.INTERNAL_TOKEN:
        logger.warning("INTERNAL_TOKEN is not set: missing sequences cannot be seeded")
