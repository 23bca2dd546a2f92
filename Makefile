# The two commands: `make run` and `make test`. Everything goes into .venv, nothing needs root.

PYTHON ?= python3
SCENARIO ?= hit
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help run test test-deploy test-fleet fleet-processes fleet-log fleet-worlds fleet-races fleet-interleavings lint types check-tests conformance bench bench-docs bench-micro profile lock clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

run: $(VENV)/run.stamp ## the sidecar in front of an example shop, or of ORIGIN=http://host:port
	@$(BIN)/sidecache demo $(if $(ORIGIN),--origin $(ORIGIN))

test: lint types check-tests ## lint, types and all tests, with real Valkey servers

test-deploy: $(VENV)/test.stamp ## image, charts and kustomize with the real tools; says what it could not prove
	@$(BIN)/python scripts/deploy_tools.py
	@$(BIN)/pytest tests/deploy $(TESTS)

test-fleet: $(VENV)/test.stamp ## replicas: the log, leases, clusters, sentinels, failing servers, simulated fleets; minutes
	@$(MAKE) --no-print-directory --keep-going -j $(words $(FLEET_LANES)) $(FLEET_LANES)

# Side by side, as the first mostly waits for servers. What computes steps back behind what is timed, and tells
# what it has to tell in one piece.
FLEET_LANES := fleet-processes fleet-log fleet-worlds fleet-races fleet-interleavings
RACES := tests/simulation/test_lost_races.py tests/simulation/test_flood.py

fleet-processes:
	@$(BIN)/pytest tests/fleet_slow

fleet-log:
	@$(call told_at_the_end,$(BIN)/pytest tests/fleet)

fleet-worlds:
	@$(call told_at_the_end,nice $(BIN)/pytest tests/simulation $(RACES:%=--ignore=%))

fleet-races:
	@$(call told_at_the_end,nice $(BIN)/pytest $(RACES))

fleet-interleavings:
	@$(call told_at_the_end,nice $(BIN)/python -m tests.simulation --interleavings 100000 --jobs 2)

told_at_the_end = said=$$($(1) 2>&1); code=$$?; printf '%s\n' "" "$$said"; exit $$code

lint: $(VENV)/test.stamp
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .

types: $(VENV)/test.stamp
	@$(BIN)/mypy

check-tests: $(VENV)/test.stamp
	@$(BIN)/pytest --cov=proxy/policy --cov=proxy/engine --cov-branch --cov-report=term-missing:skip-covered --ignore=tests/deploy --ignore=tests/fleet_slow --ignore=tests/simulation $(TESTS)

conformance: $(VENV)/test.stamp ## the public HTTP cache test suite (needs Node.js; CACHE_TESTS=folder for a checkout)
	@$(BIN)/python -m tests.conformance

bench: $(VENV)/test.stamp ## sidecache beside nginx, Varnish, HAProxy: BENCH="hit pass --quick" for less
	@$(BIN)/python -m bench $(BENCH)

bench-docs: $(VENV)/test.stamp ## put the figures measured last into docs/performance.md
	@$(BIN)/python -m bench --report --page docs/performance.md

bench-micro: $(VENV)/test.stamp $(VENV)/bench.stamp ## what single steps of a hit cost
	@$(BIN)/python -m bench.micro --inherit-environ PYTHONPATH $(MICRO)

profile: $(VENV)/test.stamp $(VENV)/bench.stamp ## a flame graph of ours: SCENARIO=hit, or any other
	@mkdir -p bench/results
	@$(BIN)/python -m bench $(SCENARIO) --against none --rounds 1 --seconds 10 --output bench/results/profiled \
	  --profile bench/results/$(SCENARIO)-profile.svg

lock: ## resolve the requirements anew (needs uv)
	@for set in run test; do \
	  uv pip compile -q --universal --no-emit-index-url --no-emit-find-links --no-strip-extras --generate-hashes --python-version 3.11 \
	    --extra embedded --group $$set --custom-compile-command "make lock" pyproject.toml -o requirements/$$set.lock; done
	@uv pip compile -q --universal --no-emit-index-url --no-emit-find-links --no-strip-extras --generate-hashes --python-version 3.11 \
	  --custom-compile-command "make lock" pyproject.toml -o requirements/image.lock
	@for set in build deploy bench; do \
	  uv pip compile -q --universal --no-emit-index-url --no-emit-find-links --no-strip-extras --generate-hashes --python-version 3.11 \
	    --constraint requirements/test.lock --group $$set --custom-compile-command "make lock" -o requirements/$$set.lock; done
	@uv pip compile -q --universal --no-emit-index-url --no-emit-find-links --no-deps --generate-hashes --python-version 3.11 \
	  --group helm --custom-compile-command "make lock" -o requirements/helm.lock

clean: ## forget the environment and all caches
	rm -rf $(VENV) .conformance .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, found " + sys.version)'
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# Beside the other requirements; sidecache itself is installed with those.
$(VENV)/bench.stamp: requirements/bench.lock | $(VENV)/bin/python
	@echo "installing requirements/bench.lock"
	@$(PIP) install --require-hashes -r requirements/bench.lock
	@touch $@

$(VENV)/%.stamp: requirements/%.lock pyproject.toml | $(VENV)/bin/python
	@echo "installing requirements/$*.lock"
	@$(PIP) install --require-hashes -r requirements/$*.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@
