"""The WSGI application, which `crud_service.server` runs in its threads."""

import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

from crud_service.search.index.elasticsearch_index import has_elasticsearch

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "crud_service.settings")

application = get_wsgi_application()
# Import all views now, and Elasticsearch's client; otherwise the first request would wait for it.
get_resolver().url_patterns  # noqa: B018 - a property that loads them
if has_elasticsearch():
    import crud_service.search.query.query_elasticsearch  # noqa: F401
