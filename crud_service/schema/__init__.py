"""The OpenAPI document, the page to read it, and static files."""
