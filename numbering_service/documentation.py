"""The OpenAPI document and the page that shows it."""

from fastapi import FastAPI

from numbering_service.settings import Settings


def add_routes(api: FastAPI, settings: Settings) -> None:
    """Declare the two creation paths, and serve /docs."""
