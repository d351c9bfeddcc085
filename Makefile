# Every target installs what it needs into .venv first. `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CONFIG ?= config.example.ini

.DEFAULT_GOAL := help
.PHONY: help run quick test check lint types format bench soak chaos fuzz docs binary test-binary clean FORCE
.PHONY: suite-early suite-middle suite-late suite-chaos suite-binary suite-contract suite-rest suite-engine suite-unit

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(VENV)/.ready ## start the daemon on the embedded store with the example app
	$(BIN)/monqbus run --config $(CONFIG)

# Many tests wait more than they compute: several suites at a time, each prints when it is over.
SUITES := $(MAKE) --no-print-directory --jobs 3 --output-sync=target --keep-going
PYTEST := $(BIN)/python -m pytest -p no:cacheprovider
acceptance = $(filter-out $(LEFT_OUT:%=tests/acceptance/test_%.py),$(wildcard tests/acceptance/test_$(1)*.py))

test: $(VENV)/.ready-for-tests ## run every test
	@$(SUITES) suite-contract suite-middle suite-rest suite-early suite-late suite-chaos

quick: $(VENV)/.ready-for-tests ## in under a minute: lint, types, and the tests that need no server
	@$(SUITES) suite-engine suite-unit types lint

suite-early:
	$(PYTEST) $(call acceptance,[a-m])
suite-middle:
	$(PYTEST) $(call acceptance,[n-r])
suite-late:
	$(PYTEST) $(call acceptance,[s-z])
suite-chaos:
	$(PYTEST) tests/chaos
suite-binary:
	$(PYTEST) tests/binary
suite-contract:
	$(PYTEST) tests/contract tests/engine
suite-rest:
	$(PYTEST) --ignore tests/acceptance --ignore tests/chaos --ignore tests/binary --ignore tests/contract --ignore tests/engine

suite-engine:
	$(PYTEST) tests/engine
suite-unit:
	$(PYTEST) tests/unit tests/test_*.py

check: lint types test test-binary ## what CI runs

lint: $(VENV)/.ready-for-tests ## style, format, dead code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/vulture

types: $(VENV)/.ready-for-tests ## mypy, strict
	$(BIN)/mypy

format: $(VENV)/.ready-for-tests ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.ready-for-tests ## measure, print tables; BENCH="drain http" for some; long ones by name: growth, scale, peers
	$(BIN)/python -m tests.bench $(BENCH)

soak: $(VENV)/.ready-for-tests ## a steady load for two hours, a table and build/soak.svg; SOAK=15 minutes, RATE=20 a second
	$(BIN)/python -m tests.bench.soak

chaos: $(VENV)/.ready-for-tests ## show that nothing acknowledged is lost, up to 15 min; CHAOS="--list"
	$(BIN)/python -m tests.chaos $(or $(CHAOS),--at-once)

fuzz: $(VENV)/.ready-for-tests ## look for bytes that break edge, verifiers, rules, payloads: 60 s each; FUZZ="edge --seconds 600"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	$(BIN)/python -m tests.fuzz $(FUZZ)

docs: $(VENV)/.ready ## write the generated pages and config.example.ini again
	$(BIN)/python -m tests.generate

binary: dist/monqbus ## dist/monqbus, one file; UNPACK_DIR=/path: where it unpacks itself at start

# Applications in Python, and the order of services, are the same whatever program the daemon is.
OF_PYTHON := asyncio prefork recipes stopping
test-binary: dist/monqbus $(VENV)/.ready-for-tests ## run the tests of the executable, then acceptance and chaos with it
	@MONQBUS_BINARY=dist/monqbus $(SUITES) LEFT_OUT="$(OF_PYTHON)" suite-middle suite-early suite-late suite-binary suite-chaos

clean: ## forget everything that was built
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# the same sources and versions give the same bytes
dist/monqbus: build.spec build/venv/.ready build/unpack-dir monqbus.py $(shell find bus -type f -not -name '*.pyc')
	PYTHONHASHSEED=1 UNPACK_DIR=$(UNPACK_DIR) build/venv/bin/pyinstaller \
		--noconfirm --log-level ERROR --workpath build/pyinstaller build.spec

# an environment of its own: what tests need would leak in
build/venv/.ready: setup.py binary.lock
	$(PYTHON) -m venv --clear build/venv
	build/venv/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint binary.lock --editable '.[binary]'
	@touch $@

# written only when it is another one than last time
build/unpack-dir: FORCE
	@mkdir -p build; echo '$(UNPACK_DIR)' | cmp -s - $@ || echo '$(UNPACK_DIR)' > $@

FORCE:

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) || { echo "make: a virtual environment needs the venv module (Debian: apt-get install python3-venv)"; exit 1; }

$(VENV)/.ready: setup.py $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.ready-for-tests: setup.py $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ $(VENV)/.ready
