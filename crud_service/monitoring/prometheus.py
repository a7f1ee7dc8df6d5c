"""`/metrics`: the requests of this process, and the backlog and index state from the stores."""

from django.http import HttpResponse
from prometheus_client import CollectorRegistry, generate_latest
from rest_framework.request import Request

from crud_service.api.api_view import ApiView
from crud_service.monitoring.request_metrics import REGISTRY
from crud_service.monitoring.store_metrics import StoreMetrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

STORES = CollectorRegistry()
STORES.register(StoreMetrics())


class MetricsView(ApiView):
    def get(self, request: Request) -> HttpResponse:
        body = generate_latest(REGISTRY) + generate_latest(STORES)
        return HttpResponse(body, content_type=CONTENT_TYPE)
