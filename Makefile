# Every target installs what it needs into .venv first. `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CONFIG ?= config.example.ini

.DEFAULT_GOAL := help
.PHONY: help run test check lint types format bench docs binary clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(VENV)/.ready ## start the daemon on the embedded store with the example app
	$(BIN)/monqbus run --config $(CONFIG)

test: $(VENV)/.ready-for-tests ## run every test
	$(BIN)/python -m pytest

check: lint types test ## what CI runs

lint: $(VENV)/.ready-for-tests ## style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready-for-tests ## mypy, strict
	$(BIN)/mypy

format: $(VENV)/.ready-for-tests ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.ready-for-tests ## measure, print tables; BENCH="drain http" for some
	$(BIN)/python -m tests.bench $(BENCH)

docs: $(VENV)/.ready ## write the generated pages and config.example.ini again
	$(BIN)/python -m tests.generate

binary: $(VENV)/.ready ## dist/monqbus, one file
	$(BIN)/python -m pip install --quiet --editable '.[binary]'
	$(BIN)/pyinstaller --noconfirm --log-level WARN build.spec

clean: ## forget everything that was built
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) || { echo "make: a virtual environment needs the venv module (Debian: apt-get install python3-venv)"; exit 1; }

$(VENV)/.ready: setup.py $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.ready-for-tests: setup.py $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ $(VENV)/.ready
