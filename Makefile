# Two commands matter: `make demo` and `make test`. Each does its own set-up.
# PYTHON=… chooses the interpreter, VENV=… the environment's folder; ARGS=… is handed to pytest or to the demo.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV ?= .venv
ARGS ?=
BIN := $(VENV)/bin/python
PIP := $(BIN) -m pip --disable-pip-version-check --quiet install --progress-bar off
FOR_RUNS := $(VENV)/.installed-experiments
FOR_TESTS := $(VENV)/.installed-dev

# Newest first. A name on PATH may be a shim that exists and does not run, so each candidate proves itself.
CANDIDATES := $(or $(PYTHON),$(foreach version,3.14 3.13 3.12 3.11,python$(version) /usr/bin/python$(version)) python3 /usr/bin/python3)
WORKS := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

.PHONY: help setup demo test test-slow check format docs clean

help:  ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1@\2/p' $(MAKEFILE_LIST) | awk -F@ '{ printf "%-20s%s\n", $$1, $$2 }'

setup: $(FOR_TESTS)  ## the environment in .venv, with all that runs and tests need

demo: $(FOR_RUNS)  ## train, sample and judge digits, at most 6 minutes on 2 cores; leaves runs/digits
	@$(BIN) -m experiments run digits --preset demo $(ARGS)

test: $(FOR_TESTS)  ## all tests but the slow ones and the peers', at most 10 minutes on 2 cores
	@$(BIN) -m pytest -q -n 2 -m "not slow and not peers" $(ARGS)

test-slow: $(FOR_TESTS)  ## the tests that take minutes
	@$(BIN) -m pytest -q -n 2 -m "slow and not peers" $(ARGS)

check: $(FOR_TESTS)  ## ruff, formatting, mypy, architecture and contract tests, at most 90 seconds
	@$(BIN) -m ruff check .
	@$(BIN) -m ruff format --check .
	@$(BIN) -m mypy
	@$(BIN) -m pytest -q -n 2 tests/test_architecture.py $(wildcard tests/test_contracts*.py)

format: $(FOR_TESTS)  ## put the code into ruff's form and mend what ruff can
	@$(BIN) -m ruff check --fix --quiet --exit-zero .
	@$(BIN) -m ruff format .

docs: $(FOR_TESTS)  ## API pages from the docstrings and the chapters' READMEs: build/docs/index.html
	@$(BIN) -W error -m experiments.docs build/docs

clean:  ## remove the environment and whatever can be made again; keeps runs/
	@[ ! -f "$(VENV)/pyvenv.cfg" ] || rm -rf "$(VENV)"
	@rm -rf build dist ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find gendiff experiments tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN):
	@for candidate in $(CANDIDATES); do \
	  if "$$candidate" -c '$(WORKS)' >/dev/null 2>&1; then \
	    echo "environment: $(VENV), $$("$$candidate" --version) ($$candidate)"; \
	    [ ! -f "$(VENV)/pyvenv.cfg" ] || rm -rf "$(VENV)"; \
	    "$$candidate" -m venv "$(VENV)"; exit $$?; \
	  fi; \
	done; \
	echo "none of these is a Python >= 3.11 with the modules venv and ensurepip: $(CANDIDATES)" >&2; \
	echo "install one (Debian, Ubuntu: apt-get install python3-venv), or name one: make PYTHON=/path/to/python" >&2; exit 2

# Without --compile: a run imports a fraction of what is installed, and Python compiles that once, on import.
$(FOR_RUNS): pyproject.toml $(BIN)
	@start=$$(date +%s) && $(PIP) --no-compile -e '.[experiments]' && touch $@ && echo "install: $$(($$(date +%s) - start)) s"

$(FOR_TESTS): pyproject.toml $(BIN)
	@start=$$(date +%s) && $(PIP) -e '.[dev]' && touch $(FOR_RUNS) $@ && echo "install: $$(($$(date +%s) - start)) s"
