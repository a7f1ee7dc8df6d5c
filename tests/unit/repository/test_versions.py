"""All released artifacts have the same version, and the changelog has an entry for it."""

import re
import tomllib
from datetime import date

import orjson
import pytest

import chat_backend_client
from contract.version import VERSION
from crud_service.schema.openapi import openapi_document
from local_stack.applications import ROOT
from numbering_service.main import NumberingService
from numbering_service.settings import Settings

CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
RELEASES = re.findall(r"^## (\S+) - (\S+)$", CHANGELOG, re.MULTILINE)


def read_toml(path: str) -> str:
    version: str = tomllib.loads((ROOT / path).read_text())["project"]["version"]
    return version


@pytest.mark.parametrize("path", ["pyproject.toml", "clients/python/pyproject.toml"])
def test_a_python_project_has_the_version(path: str) -> None:
    assert read_toml(path) == VERSION


def test_the_client_for_python_reports_the_version() -> None:
    assert chat_backend_client.__version__ == VERSION


def test_the_client_for_javascript_has_the_version() -> None:
    folder = ROOT / "clients" / "typescript"
    package, lock = (orjson.loads((folder / f"{name}.json").read_bytes()) for name in PACKAGE_FILES)
    assert package["version"] == lock["version"] == lock["packages"][""]["version"] == VERSION
    assert f"chat-backend-client-{VERSION}.tgz" in (folder / "README.md").read_text()


PACKAGE_FILES = ("package", "package-lock")


def test_both_services_report_the_version() -> None:
    assert openapi_document(admin_token=False)["info"]["version"] == VERSION
    assert NumberingService(Settings.from_env({})).api.version == VERSION


def test_the_newest_release_of_the_changelog_is_the_version() -> None:
    assert RELEASES[0][0] == VERSION


def test_releases_are_listed_from_the_newest_with_dates() -> None:
    versions = [tuple(map(int, version.split("."))) for version, _ in RELEASES]
    dates = [date.fromisoformat(day) for _, day in RELEASES]
    assert versions == sorted(set(versions), reverse=True)
    assert dates == sorted(dates, reverse=True)
    assert CHANGELOG.index("## Unreleased") < CHANGELOG.index(f"## {VERSION}")


def test_the_collections_documents_have_the_version() -> None:
    text = (ROOT / "postman" / "chat-backend.postman_collection.json").read_text()
    shown = re.findall(r'\\"title\\":\\"Chat backend: \w+\\",\\"version\\":\\"([^\\]+)', text)
    assert shown == [VERSION, VERSION]
