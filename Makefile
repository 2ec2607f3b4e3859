# Every target sets up what it needs by itself; `make help` lists them.

BIN := .venv/bin
PYTEST := $(BIN)/python -X dev -m pytest
# Each process of pytest-xdist takes whole files, so that a server is started once for all tests of a file.
PARALLEL ?= -n 2 --dist loadfile --no-loadscope-reorder
# The tests start hundreds of processes; let them find compiled what they import.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := setup
.PHONY: setup setup-servers help demo run test test-all check format unit contract integration faults faults-long bank \
	stores galera suites servers setup-suites bench bench-treq bench-claims bench-memory bench-balance bench-attacks bench-peers \
	docs clean

setup: ## Set everything up, so that `.venv/bin/twistd ap4r` works (the default)
	@.ci/prepare

setup-servers:
	@.ci/prepare nginx mariadb galera postgresql mysqlclient

setup-suites:
	@.ci/prepare-suites

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-13s %s\n", $$1, $$2 }'

demo: setup ## Watch a web shop whose orders send mail, index and call a warehouse; ONCE=1 ends by itself and checks
	@cd examples/shop && exec ../../$(BIN)/python -m demo $(if $(filter-out 0,$(ONCE)),--once)

run: setup ## Run a dispatcher in the foreground: make run ARGS="--app-url http://127.0.0.1:8000"
	@exec $(BIN)/twistd -n ap4r $(ARGS)

test: setup check ## Check the code and run the tests that need no database server: what to run before each commit
	@$(PYTEST) $(PARALLEL) -m "not slow and not full" $(ARGS)

test-all: test setup-servers setup-suites ## Run `make test`, then all other tests in their short form
	@$(PYTEST) $(PARALLEL) -m "not slow and full" $(ARGS)

check: setup ## Check format, types and layers; runs no test
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --no-cache

format: setup ## Format the code as `check` requires
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

unit: setup ## Run the tests without sockets, files or waiting (ARGS= goes to pytest, here and below)
	@$(PYTEST) tests/unit $(ARGS)

contract: setup-servers ## Run the contract tests of stores, on every store
	@$(PYTEST) tests/contract $(ARGS)

integration: setup-servers ## Run the tests with real servers
	@$(PYTEST) tests/integration $(ARGS)

faults: setup-servers ## Run the tests that kill, stop and starve real processes, in their short form
	@$(PYTEST) tests/faults $(ARGS)

faults-long: setup-servers ## Run the long form of the same
	@$(PYTEST) tests/faults -m "slow or not slow" $(ARGS)

bank: setup-servers ## Kill a bank with two databases for ten minutes, and compare both to the cent
	@$(PYTEST) tests/faults/test_bank.py -m slow $(ARGS)

stores: setup-servers ## Run the long form of the tests with databases: contention, outages, sizes, TLS, backups
	@$(PYTEST) tests/stores --ignore tests/stores/test_galera.py -m "slow or not slow" $(ARGS)

galera: setup-servers ## Run the long form of the tests with a Galera cluster of three nodes
	@$(PYTEST) tests/stores/test_galera.py -m "slow or not slow" $(ARGS)

suites: setup-suites ## Run public test suites of other projects through the middleware, whole (make test-all: those files that call it)
	@$(PYTEST) tests/suites -m slow $(ARGS)

servers: setup ## Test every WSGI server that pip or apt can install with raw sockets, bare and wrapped; print a table
	@.ci/prepare-servers
	@$(BIN)/python -m tests.servers.compare $(ARGS)

bench: setup-servers ## Measure everything that has a goal, and print one table with the goals
	@.ci/prepare wrk
	@$(BIN)/python -m benchmarks $(ARGS)

bench-treq: setup-servers ## Measure deliveries a second and CPU per message beside a bare loop of treq.post
	@$(BIN)/python -m benchmarks.deliver --least 0.7 $(ARGS)

bench-claims: setup-servers ## Measure a claim with 5,000,000 waiting beside one with 5,000, on each database (takes long)
	@$(BIN)/python -m benchmarks.claims --most 1.3 $(ARGS)

bench-memory: setup-servers ## Measure a dispatcher's memory with 3,000,000 messages beside one without
	@$(BIN)/python -m benchmarks.memory --most 20 $(ARGS)

bench-balance: setup ## Measure calls and latency of three servers, one stopped and one slow
	@$(BIN)/python -m benchmarks.balance $(ARGS)

bench-attacks: setup ## Measure the latency of honest messages beside attacks of every kind, and growth (MINUTES=60)
	@$(BIN)/python -m benchmarks.attacks --minutes $(or $(MINUTES),2) $(ARGS)

bench-peers: ## Measure other systems beside ap4r, on one sink, and print one table (ARGS= goes to it)
	@.ci/prepare-peers
	@$(BIN)/python -m benchmarks.peers $(ARGS)

docs: setup ## Write the tables of docs/ and docs/openapi.json from the code
	@$(BIN)/python -m tests.meta.generated_tables

clean: ## Remove everything that `make` has created
	rm -rf .venv .venv-peers .venv-servers .venv-suites .venv.lock build dist *.egg-info .coverage .coverage.* .hypothesis .import_linter_cache \
	    .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
