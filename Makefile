# Everything here works in a fresh clone on a machine with Python 3.11+ and make.
# Settings are given on the command line: make run CRUD_PORT=3100 NUMBERING_PORT=8180

PYTHON ?= python3
UV ?= uv
BIN := .venv/bin
FOLDERS := contract web numbering_service crud_service local_stack tests bench
export PYTHONUNBUFFERED := 1

.DEFAULT_GOAL := help
.PHONY: help run test test-quick test-fault coverage lint format hooks lock demo bench clean environment environment-dev

help: ## show this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | sort | while IFS='	' read -r name text; do \
		printf '  make %-12s %s\n' "$$name" "$$text"; done

run: environment ## start everything, until Ctrl-C (CRUD_PORT= NUMBERING_PORT= LOCAL_DIR=)
	@exec $(BIN)/python -m local_stack run

# Tests wait more than they compute, so two processes share them; a file stays in one.
JOBS ?= 2

test: lint ## lint, then every test, on real stores and separate ports (JOBS=1: one at a time)
	@$(BIN)/python -m pytest tests -n $(JOBS) --dist loadfile

test-quick: lint ## lint, unit and contract tests, and the main paths end to end
	@$(BIN)/python -m pytest tests/unit tests/contract tests/end_to_end/test_chain.py

test-fault: environment-dev ## only the tests that kill and freeze processes
	@$(BIN)/python -m pytest tests/fault

# Apart from `make test`, whose bounds in time are not to be those of a traced process.
coverage: environment-dev ## the lines that no test of unit, contract and integration reaches
	@mkdir -p .local-test/coverage
	@$(BIN)/coverage run -m pytest tests/unit tests/contract $(COVERED)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

COVERED := $(addprefix tests/integration/,crud numbering operators persist search seeding)

lint: environment-dev ## style, types and import boundaries
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: environment-dev ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

hooks: ## install a git hook that formats and lints before each commit
	git config core.hooksPath .githooks

lock: ## pin all dependencies again, with hashes (needs uv)
	@command -v $(UV) > /dev/null || { echo 'uv is not installed: pip install uv'; exit 1; }
	$(UV) pip compile $(LOCK) --extra crud --extra numbering --extra local --extra dev -o requirements/dev.txt
	$(UV) pip compile $(LOCK) -c requirements/dev.txt --extra crud --extra numbering --extra local -o requirements/run.txt
	$(UV) pip compile $(LOCK) -c requirements/dev.txt --extra crud -o requirements/crud.txt
	$(UV) pip compile $(LOCK) -c requirements/dev.txt --extra numbering -o requirements/numbering.txt

LOCK := -q --generate-hashes --no-emit-index-url --no-header --python-version 3.11 pyproject.toml

demo: environment ## walk through the API of a running stack, printing every exchange
	@$(BIN)/python -m local_stack demo

bench: environment-dev ## run the benchmarks (half an hour; needs wrk and redis-tools)
	@$(BIN)/python -m bench

clean: ## remove the environment, caches and test data; keeps .local/
	rm -rf .venv .local-test .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './.local/*' -prune -exec rm -rf {} +

environment:
	@$(PYTHON) -I local_stack/environment.py run

environment-dev:
	@$(PYTHON) -I local_stack/environment.py dev
