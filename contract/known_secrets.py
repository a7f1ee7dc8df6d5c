"""Secrets that everybody knows: outside of a local stack, no process starts with one."""

# Every value that has ever been published as an example or a default.
_KNOWN = frozenset(
    {
        *("", "local", "local-internal-token", "secret", "changeme", "change-me", "admin"),
        *("password", "postgres", "postgresql", "chat", "root", "test", "example", "12345678"),
    }
)


def is_known_secret(secret: str) -> bool:
    """Whether a secret protects nothing, as it is empty or well-known."""
    return secret.lower() in _KNOWN
