"""The OpenAPI document, its Swagger UI page, and static files."""
