# Each target does its own set-up: the virtual environment is made when it is missing and renewed when the lock has changed.
#   make quickstart   the default experiment with its report: results/quickstart/report.html
#   make test         all tests
#   make test-slurm   those on a real Slurm of their own; they fail where it is not installed, `make test` skips them there
#   make progress     how far the run is that goes on in this checkout
#   make check        formatting, linting, types, the workflow's linting
#   make bench        the programs under benchmarks/, each of which prints one JSON object; docs/performance.md says how to read them
#   make docs         the files that are generated from the configuration's model
# Set PYTHON=/path/to/python to choose the interpreter and VENV=folder to put the environment elsewhere.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := quickstart

VENV = .venv
PYTHON =
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed
PIP = $(BIN)/python -m pip --disable-pip-version-check install --quiet
SUPPORTED = import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))

.PHONY: quickstart test test-slurm progress check bench docs environment

quickstart: $(INSTALLED)
	$(BIN)/snakemake --cores all --rerun-incomplete --report results/quickstart/report.html --report-after-run

test: $(INSTALLED)
	$(BIN)/python -m pytest

test-slurm: $(INSTALLED)
	LAMFLOW_NEEDS_SLURM=1 $(BIN)/python -m pytest tests/workflow/slurm

progress: $(INSTALLED)
	$(BIN)/python -m lamflow.runs.progress

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/mypy
	$(BIN)/snakemake --lint

bench: $(INSTALLED)
	@for program in benchmarks/*.py; do $(BIN)/python "$$program"; done

docs: $(INSTALLED)
	$(BIN)/python -m lamflow.config_docs

environment: $(INSTALLED)

# An interpreter counts when it runs: a version manager's shims exist for versions that are not there.
$(BIN)/python:
	@for python in $(or $(PYTHON),$$(type -ap python3.12 python3.11 python3 || true)); do \
	    if "$$python" -c '$(SUPPORTED)' 2> /dev/null; then exec "$$python" -m venv $(VENV); fi; \
	done; \
	echo "No usable Python found: lamflow needs Python 3.11 or 3.12 with its venv module (on Debian: python3.11-venv)." >&2; \
	echo "Looked at: $(or $(PYTHON),python3.12 python3.11 python3 on the PATH). Say where one is: make PYTHON=/path/to/python3.12 ..." >&2; \
	exit 1

# torch comes first and with its own dependencies, which differ between its CPU and CUDA builds; see requirements.lock.
$(INSTALLED): requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing the packages of requirements.lock into $(VENV); this takes a few minutes."
	$(PIP) --constraint requirements.lock torch
	$(PIP) --no-deps --requirement requirements.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@
