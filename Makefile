# Each target does its own set-up: the virtual environment is made when it is missing and renewed when the lock has changed.
#   make quickstart   the default experiment with its report: results/quickstart/report.html
#   make test         the tests, but for those that are slow by nature
#   make test-fast    of these the ones that take less than a second each
#   make test-all     those that are slow by nature: on a real Slurm (skipped where it is not installed), whole pipelines, killed and stopped runs
#   make test-slurm   those on a real Slurm alone; they fail where it is not installed
#   make progress     how far the run is that goes on in this checkout
#   make check        formatting, linting, types, the workflow's linting
#   make bench        the programs under benchmarks/, each of which prints one JSON object; docs/performance.md says how to read them
#   make docs         the files that are generated from the configuration's model
#   make disk         what lies on the disk here, and how large it is
#   make clean        deletes caches, nothing that was computed; clean-state, clean-results and clean-environment delete more.
#                     Each of these says what it deletes and how large that is, and asks; YES=1 answers
# Set PYTHON=/path/to/python to choose the interpreter and VENV=folder to put the environment elsewhere.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := quickstart

VENV = .venv
PYTHON =
YES =
PIP = $(BIN)/python -m pip --disable-pip-version-check install
SUPPORTED = import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))

# Both make and the shell want the spaces of a folder escaped.
NOTHING =
FOLDER = $(subst $(NOTHING) ,\ ,$(VENV))
BIN = $(FOLDER)/bin
INSTALLED = $(FOLDER)/.installed

# Two workers, each with the tests of whole files, in the order in which they were collected.
WORKERS = 2
PYTEST = $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadgroup --no-loadscope-reorder

.PHONY: quickstart test test-fast test-all test-slurm progress check bench docs environment disk clean clean-state clean-results clean-environment

quickstart: $(INSTALLED)
	@mkdir -p results/quickstart
	$(BIN)/python -m snakemake --cores all --keep-going --report results/quickstart/report.html --report-after-run

test: $(INSTALLED)
	$(PYTEST) -m "not whole"

test-fast: $(INSTALLED)
	$(PYTEST) -m "not whole and not slow"

test-all: $(INSTALLED)
	$(PYTEST) -m whole

test-slurm: $(INSTALLED)
	LAMFLOW_NEEDS_SLURM=1 $(BIN)/python -m pytest tests/workflow/slurm

progress: $(INSTALLED)
	$(BIN)/python -m lamflow.runs.progress

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m snakefmt --check Snakefile workflow/Snakefile workflow/rules
	$(BIN)/python -m mypy
	$(BIN)/python -m snakemake --lint

bench: $(INSTALLED)
	@for program in benchmarks/*.py; do $(BIN)/python "$$program"; done

docs: $(INSTALLED)
	$(BIN)/python -m lamflow.experiment.docs

environment: $(INSTALLED)

disk:
	@for path in $(FOLDER) .snakemake resources/lapo resources/dgrl results/*/ results/*/state/ results/*/data/; do \
	    if [ -e "$$path" ]; then du -sh "$$path"; fi; \
	done

# $(call delete,what they are,paths): what exists of the paths, when the answer is y. A run that goes on here keeps them.
define delete
@found=(); for path in $(2); do if [ -e "$$path" ]; then found+=("$$path"); fi; done; \
if [ "$${#found[@]}" -eq 0 ]; then echo "Nothing to delete."; exit 0; fi; \
if [ -e .snakemake/lamflow_driver.json ] && command -v flock > /dev/null && ! flock --nonblock .snakemake/lamflow_driver.json true; then \
    echo "A run is going on in this folder: stop it first." >&2; exit 1; fi; \
du -shc -- "$${found[@]}"; echo $(1); \
if [ "$(YES)" != 1 ]; then read -r -p "Delete them? [y/N] " answer || true; \
    if [ "$${answer:-}" != y ]; then echo "Kept."; exit 1; fi; fi; \
rm -rf -- "$${found[@]}"
endef

clean:
	$(call delete,"Caches of the tools and of Python; they are made again when they are needed.", \
	    .pytest_cache .mypy_cache .ruff_cache build dist $$(find src tests benchmarks -name __pycache__))

clean-state:
	$(call delete,"Checkpoints. A finished training does not need them; an unfinished one begins anew without them.",results/*/state)

clean-results:
	$(call delete,"All results of all experiments and what Snakemake knows of them. They have to be computed again.",results .snakemake)

clean-environment:
	$(call delete,"The installed packages; the next make installs them again.",$(FOLDER))

# An interpreter counts when it runs: a version manager's shims exist for versions that are not there.
$(BIN)/python:
	@for python in $(or $(PYTHON),$$(type -ap python3.12 python3.11 python3 || true)); do \
	    if "$$python" -c '$(SUPPORTED)' 2> /dev/null; then exec "$$python" -m venv $(FOLDER); fi; \
	done; \
	echo "No usable Python found: lamflow needs Python 3.11 or 3.12 with its venv module (on Debian: python3.11-venv)." >&2; \
	echo "Looked at: $(or $(PYTHON),python3.12 python3.11 python3 on the PATH). Say where one is: make PYTHON=/path/to/python3.12 ..." >&2; \
	exit 1

# torch comes first and with its own dependencies, which differ between its CPU and CUDA builds; see requirements.lock.
# An interrupted installation goes on with the same command: what is installed stays, and pip keeps what it has downloaded.
$(INSTALLED): requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing $$(grep -c == requirements.lock) packages into $(VENV), up to 3 GB on the disk: two minutes with a fast network, and pip shows each."
	@$(BIN)/python -m pip --version > /dev/null 2>&1 || $(BIN)/python -m ensurepip
	@echo "Step 1 of 3: torch, the largest"
	$(PIP) --constraint requirements.lock torch
	@echo "Step 2 of 3: the other packages"
	$(PIP) --no-deps --requirement requirements.lock
	@echo "Step 3 of 3: lamflow itself"
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch "$@"
