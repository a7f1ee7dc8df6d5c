"""Every URL of the service."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
