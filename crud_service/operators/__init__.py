"""The operators' site and commands."""
