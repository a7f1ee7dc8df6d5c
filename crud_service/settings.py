"""Django's settings, all of them from the environment."""

import os
from urllib.parse import unquote, urlsplit

DATABASE_URL = os.environ.get("DATABASE_URL", "postgresql://postgres@127.0.0.1:5432/chat")
REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
ELASTICSEARCH_URL = os.environ.get("ELASTICSEARCH_URL", "")
SECRET_KEY = os.environ.get("SECRET_KEY", "local")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "crud_service.chat",
]
ROOT_URLCONF = "crud_service.urls"
MIDDLEWARE: list[str] = []
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
USE_TZ = True
TIME_ZONE = "UTC"

_url = urlsplit(DATABASE_URL)
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": _url.hostname,
        "PORT": _url.port or 5432,
        "USER": unquote(_url.username or ""),
        "PASSWORD": unquote(_url.password or ""),
        "NAME": _url.path.lstrip("/"),
        "CONN_MAX_AGE": None,
    }
}
SILENCED_SYSTEM_CHECKS = ["admin.E402", "admin.E403", "admin.E404", "admin.E408", "admin.E409", "admin.E410"]
