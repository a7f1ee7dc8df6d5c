"""The Django app of search. Migrations of `chat` create its tables; it has none of its own."""

from django.apps import AppConfig


class SearchConfig(AppConfig):
    name = "crud_service.search"
    label = "search"
    verbose_name = "Search"
