"""Rotation of access tokens: the request, and the first of its steps."""
