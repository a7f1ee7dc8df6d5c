"""The Django app of the chat page: its templates and static files; installed in a local stack."""

from django.apps import AppConfig


class DemoPageConfig(AppConfig):
    name = "crud_service.demo_page"
    label = "demo_page"
