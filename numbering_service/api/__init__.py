"""The framework: endpoints for any ASGI server, health, metrics, the OpenAPI document."""
