"""Django's settings, all of them from the environment."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from redis import Redis

from contract.settings_reading import (
    SettingsError,
    address,
    broker_url,
    log_level,
    one_line,
    redis_url,
    switch,
    text,
    token,
    whole_number,
)
from contract.shards import MAX_SHARDS
from crud_service.postgresql import ORM
from web.cors import origin_of_page, parse_origins

T = TypeVar("T")

# What cannot be read, as `crud_service.startup` says when it refuses to start.
INVALID: list[str] = []


def checked(read: Callable[..., T], *arguments: Any, **bounds: int) -> T:
    """Return a setting; if it is invalid, note why, and return what it is if it is unset."""
    try:
        return read(os.environ, *arguments, **bounds)
    except SettingsError as error:
        INVALID.append(str(error))
        return read({}, *arguments, **bounds)


def connection_info(name: str, url: str) -> dict[str, Any]:
    """Return what a URL tells libpq, by its names: among others host, dbname and sslmode."""
    try:
        found = conninfo_to_dict(url)
    except (ProgrammingError, UnicodeError):  # whose messages may quote the password
        INVALID.append(f"{name} must be the URL of a database of PostgreSQL")
        return {}
    # The host begins behind the first @, and the log names a host that cannot be reached.
    if "@" in str(found.get("host")):
        INVALID.append(f"{name} must have %40 for an @ in its password")
        return {}
    return found


HOST = checked(text, "HOST", "127.0.0.1")
CRUD_PORT = checked(whole_number, "CRUD_PORT", 3000)
# Base of the URLs in `Location` and `Link`; empty: the request's Host.
CRUD_PUBLIC_URL = checked(address, "CRUD_PUBLIC_URL")
DATABASE_URL = checked(text, "DATABASE_URL", "postgresql://postgres@127.0.0.1:5432/chat")
# A replica of it, for reads; empty: there is none.
DATABASE_READ_URL = checked(text, "DATABASE_READ_URL")
connection_info("DATABASE_READ_URL", DATABASE_READ_URL)
REDIS_URL = checked(redis_url, lambda url: Redis.from_url(url).connection_pool.make_connection())
# Celery's broker, which may be another Redis: it holds nothing that must not be lost.
BROKER_URL = checked(broker_url, REDIS_URL)
# How many replicas of Redis must have a write on disk before anything is built on it; 0: none.
REPLICAS_TO_ACKNOWLEDGE = checked(whole_number, "REPLICAS_TO_ACKNOWLEDGE", 0)
# Over how many shards the applications are spread; the same for all processes.
SHARDS = checked(whole_number, "SHARDS", 1, least=1, most=MAX_SHARDS)
ELASTICSEARCH_URL = checked(address, "ELASTICSEARCH_URL")
ELASTICSEARCH_REPLICAS = checked(whole_number, "ELASTICSEARCH_REPLICAS", 0)
# The alias of the search index and the prefix of its name; stacks that share an
# Elasticsearch need different ones.
SEARCH_INDEX = checked(text, "SEARCH_INDEX", "messages")
INTERNAL_TOKEN = checked(token, "INTERNAL_TOKEN")
ADMIN_TOKEN = checked(token, "ADMIN_TOKEN")
ADMIN_PASSWORD = checked(one_line, "ADMIN_PASSWORD")
SECRET_KEY = checked(text, "SECRET_KEY", "local")
LOCAL_STACK = checked(switch, "LOCAL_STACK")
CONTAINER = checked(switch, "CONTAINER")
LOG_LEVEL = checked(log_level)

# 0: every GET goes through Django, also those that `crud_service.reads` answers faster.
FAST_READS = checked(switch, "FAST_READS", "1")

# The origins whose scripts may read answers, or *.
CORS_ORIGINS = checked(lambda env: parse_origins(env.get("CORS_ORIGINS", "")))

# The address of numbering_service as browsers reach it. If it is set, crud_service serves the chat
# page at /demo; only a local stack may, as `crud_service.startup` checks.
DEMO_NUMBERING_URL = checked(text, "DEMO_NUMBERING_URL").rstrip("/")

# How many streams, and lists that wait for something new, this process may have open.
MAX_STREAMS = checked(whole_number, "MAX_STREAMS", 10_000)

INSTALLED_APPS = [
    # It leaves the admin's pages to `crud_service.urls`: commands and workers do without them.
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular_sidecar",
    "crud_service.chat",
    "crud_service.search",
    "crud_service.operators",
    *(["crud_service.demo_page"] if DEMO_NUMBERING_URL else []),
]
ROOT_URLCONF = "crud_service.urls"
# CommonMiddleware is left out: on every path it refuses a Host with an underscore, as Docker
# Compose's services have (the operators' site does), and its redirects lose the body of a POST.
MIDDLEWARE = [
    "crud_service.monitoring.request_record.RequestRecord",
    "django.middleware.security.SecurityMiddleware",
    "crud_service.schema.static_files.StaticFiles",
    "crud_service.operators.middleware.OperatorsOnly",
    "crud_service.operators.middleware.Sessions",
    "crud_service.operators.middleware.CsrfTokens",
    "crud_service.operators.middleware.Users",
    "crud_service.operators.middleware.Messages",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
TIME_ZONE = "UTC"
# The API uses the Host header only if it is well-formed, and the admin's links are
# relative: which host names are served is up to the proxy.
ALLOWED_HOSTS = ["*"]
APPEND_SLASH = False

STATIC_URL = "/static/"
STATICFILES_DIRS = [
    Path(__file__).parent / "schema" / "static",
]
# Files are found in the installed packages, so there is nothing to collect.
WHITENOISE_USE_FINDERS = True
WHITENOISE_MAX_AGE = 3600
WHITENOISE_ALLOW_ALL_ORIGINS = False

REST_FRAMEWORK: dict[str, object] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_PARSER_CLASSES": ["crud_service.api.parsers.AnyBody"],
    "DEFAULT_RENDERER_CLASSES": ["crud_service.api.renderers.Json"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "crud_service.api.parsers.OneOfEach",
    "EXCEPTION_HANDLER": "crud_service.api.responses.handle_exception",
    "UNAUTHENTICATED_USER": None,
}

# An https CRUD_PUBLIC_URL means that a proxy terminates TLS. A request header cannot say
# so, as any client could send it: hence no SECURE_PROXY_SSL_HEADER.
CSRF_TRUSTED_ORIGINS = [origin_of_page(CRUD_PUBLIC_URL)] if CRUD_PUBLIC_URL else []
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = CRUD_PUBLIC_URL.startswith("https://")
SECURE_REFERRER_POLICY = "no-referrer"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"}
]

# Whatever else the URL says, such as `sslmode`, holds here as it does for all other connections.
_database = connection_info("DATABASE_URL", DATABASE_URL)
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": _database.pop("host", ""),
        "PORT": _database.pop("port", ""),
        "USER": _database.pop("user", ""),
        "PASSWORD": _database.pop("password", ""),
        "NAME": _database.pop("dbname", ""),
        # By default Django writes values into its statements, and PostgreSQL logs one that it ends,
        # with the access token or the session that it looks for.
        "OPTIONS": {**_database, **ORM, "server_side_binding": True},
    }
}
LOGGING_CONFIG = None  # web.json_logs configures logging in every process
