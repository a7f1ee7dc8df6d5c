"""The Django app of the tables."""

from django.apps import AppConfig


class ChatConfig(AppConfig):
    name = "crud_service.chat"
    label = "chat"
