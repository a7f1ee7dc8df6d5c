"""The WSGI application, which `crud_service.server` runs in its threads."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "crud_service.settings")

application = get_wsgi_application()
# Import all views now, and Elasticsearch's client; otherwise the first request would wait for it.
get_resolver().url_patterns  # noqa: B018 - a property that loads them
if settings.ELASTICSEARCH_URL:
    import crud_service.search.query.query_elasticsearch  # noqa: F401
