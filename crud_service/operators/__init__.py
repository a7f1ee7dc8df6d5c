"""The admin site and the management commands."""
