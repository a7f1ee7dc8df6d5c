# Everything here works in a fresh clone on a machine with Python 3.11+ and make.
# Settings are given on the command line: make run CRUD_PORT=3100 NUMBERING_PORT=8180

PYTHON ?= python3
UV ?= uv
BIN := .venv/bin
export PYTHONUNBUFFERED := 1
# Where it is set, each of the processes that a stack or a test starts compiles all of our modules.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run compiled demo demo-client screenshots status logs stop reset test test-quick test-fault test-compiled coverage lint format hooks lock bench clean environment environment-dev

# Groups are lines that begin with ##@.
help: ## show this list
	@if [ -t 1 ] && [ -z "$$NO_COLOR" ]; then bold='\033[1m' end='\033[0m'; fi; \
	awk -v bold="$$bold" -v end="$$end" -F ':[^#]*## ' \
		'/^##@ / { printf "\n%s%s%s\n", bold, substr($$0, 5), end } \
		/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Run it (another copy: add LOCAL_DIR=.local-2 CRUD_PORT=3100 NUMBERING_PORT=8180)
run: environment ## start everything, until Ctrl-C (options: CLUSTER=1, WITHOUT_ELASTICSEARCH=1)
	@exec $(BIN)/python -m local_stack run

compiled: environment-dev ## compile the services for the next `make run`, until they are changed (needs a C compiler)
	@$(BIN)/python -m local_stack compiled

demo: environment ## walk through the API of a running stack, printing every exchange
	@$(BIN)/python -m local_stack demo

status: environment ## what runs, where, and whether it is ready
	@$(BIN)/python -m local_stack status

logs: environment ## follow the logs of all parts (PART=worker, N=50 lines first)
	@exec $(BIN)/python -m local_stack logs

stop: environment ## end what `make run` started, from another terminal
	@$(BIN)/python -m local_stack stop

reset: environment ## stop it and remove its data; asks first (FORCE=1: does not)
	@$(BIN)/python -m local_stack reset

##@ Test it
# The tests of faults wait more than they compute: two cores have room for four processes of all tests.
# Which files go to which process is decided in tests/scheduling.py. RECORD=--record-seconds renews its
# record.
test coverage: JOBS ?= 4
test-quick test-compiled: JOBS ?= 2
RECORD :=

test: lint ## lint, then every test, on real stores and separate ports (JOBS=1: one at a time)
	@$(BIN)/python -m pytest tests -n $(JOBS) --dist loadfile $(RECORD)

test-quick: lint ## lint, unit and contract tests, and the main paths end to end
	@$(BIN)/python -m pytest tests/unit tests/contract tests/end_to_end/test_chain.py -n $(JOBS) --dist loadfile

test-fault: environment-dev ## only the tests that kill and freeze processes
	@$(BIN)/python -m pytest tests/fault

# Where a service is a process of its own: what is imported by a test are the sources.
test-compiled: compiled ## tests that start a service as a process, with it compiled
	@COMPILED=1 $(BIN)/python -m pytest $(COMPILED_TOO) -n $(JOBS) --dist loadfile

COMPILED_TOO := tests/integration/numbering tests/integration/crud_server tests/hostile
COMPILED_TOO += tests/end_to_end/test_chain.py

# Apart from `make test`, whose bounds in time are not to be those of a traced process. Where a
# mistake loses or repeats a number, or opens a door, a line that no test reaches fails this; one
# that can't be reached has a reason: `# pragma: no cover - why`.
coverage: environment-dev ## which lines no test reaches; fails where none may be missing
	@rm -rf .local-test/coverage && mkdir -p .local-test/coverage
	@$(BIN)/coverage run -m pytest $(COVERED) --ignore tests/unit/web/test_costs.py -n $(JOBS) --dist loadfile
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report
	@$(BIN)/coverage report --include="$(COMPLETE)" --fail-under=100

COVERED := tests/unit tests/contract
COVERED += $(addprefix tests/integration/,crud crud_server numbering operators persist search seeding)
COVERED += tests/fault/test_resharding.py
COMPLETE := crud_service/persist/*,numbering_service/seeding/*,numbering_service/creations/batching.py,numbering_service/creations/outcomes.py,numbering_service/creations/shard_queue.py,web/*

lint: environment-dev ## style, types and import boundaries
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

##@ Change it
format: environment-dev ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

hooks: ## install a git hook that formats and lints before each commit
	git config core.hooksPath .githooks

demo-client: ## compile the JavaScript client for the chat page, after a change to it (needs Node.js)
	cd clients/typescript && npm ci --ignore-scripts --silent && npm run --silent build
	cp clients/typescript/dist/*.js crud_service/demo_page/static/demo/client/

screenshots: environment-dev ## take the pictures of the chat page in README again (needs Chromium)
	@PYTHONPATH=clients/python $(BIN)/python -m tests.end_to_end.demo_page.pictures

lock: ## pin all dependencies again, with hashes (needs uv)
	@command -v $(UV) > /dev/null || { echo 'uv is not installed: pip install uv'; exit 1; }
	$(UV) pip compile $(LOCK) --extra crud --extra numbering --extra local --extra dev -o requirements/dev.txt
	$(UV) pip compile $(LOCK) -c requirements/dev.txt --extra crud --extra numbering --extra local -o requirements/run.txt
	$(UV) pip compile $(LOCK) -c requirements/dev.txt --extra crud -o requirements/crud.txt
	$(UV) pip compile $(LOCK) -c requirements/dev.txt --extra numbering -o requirements/numbering.txt
	$(UV) pip compile $(LOCK) -c requirements/dev.txt --extra numbering --extra compile -o requirements/compile.txt

LOCK := -q --generate-hashes --no-emit-index-url --no-header --python-version 3.11 pyproject.toml

##@ Measure it, clean up
bench: environment-dev ## run the benchmarks (half an hour; needs wrk and redis-tools)
	@$(BIN)/python -m bench

clean: ## remove the environment, caches and test data; keeps .local/
	rm -rf .venv .local-test .local-compiled .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './.local/*' -prune -exec rm -rf {} +

environment:
	@$(PYTHON) -I local_stack/environment.py run

environment-dev:
	@$(PYTHON) -I local_stack/environment.py dev
