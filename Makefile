# Every target builds .venv itself when it is missing or older than what it was made from.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# Bytecode is compiled when a module is first imported, not for all 40,000 files at installation.
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test test-fast test-long gpu lint format types docs leaderboard bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/.runtime: pyproject.toml constraints.txt
	@echo "Building $(VENV) with $(PYTHON) (about two minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --no-compile --constraint constraints.txt torch
	@$(PIP) install --no-compile --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo "Adding the development tools to $(VENV)"
	@$(PIP) install --no-compile --constraint constraints.txt --editable '.[dev]'
	@$(PIP) install --no-compile --constraint constraints.txt --editable '.[crf]' >/dev/null 2>&1 \
	    || echo "pydensecrf2 cannot be compiled here (C++ compiler?): the tests of predict.crf will skip"
	@touch $@

setup: $(VENV)/.runtime ## build the environment alone
setup-dev: $(VENV)/.dev ## the environment with the development tools

demo: setup ## train, score and rank three small networks on generated images (under five minutes)
	@$(BIN)/bench demo

# Many tests wait for a child process, Ray or a server: four at a time keep two processors busy. The long ones, of which
# some watch the clock while nodes are lost, run two at a time.
PYTEST := $(BIN)/python -m pytest --dist worksteal --numprocesses

test: setup-dev lint types ## lint, types, import contract and every test but the long ones
	$(PYTEST) 4 -m "not long"

test-long: setup-dev ## the tests that take minutes: training on real data, lost nodes, bad networks, searches
	$(PYTEST) 2 -m long

gpu: setup-dev ## everything that needs a GPU: tests, every network at full size, speed, study D; written to docs/gpu.md
	$(BIN)/python benchmarks/gpu.py

test-fast: setup-dev ## the tests that take seconds
	$(PYTEST) 3 -m "not slow"

lint: setup-dev ## ruff and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: setup-dev ## let ruff fix what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup-dev ## mypy
	$(BIN)/mypy

docs: setup-dev ## write docs/cli.md from the command's own help
	$(BIN)/python -m typer bench.__main__ utils docs --name bench --title bench --output docs/cli.md

leaderboard: setup ## serve the leaderboard on results.db, or on the published results while there is none
	$(BIN)/bench leaderboard $(if $(wildcard results.db),,--published)

$(VENV)/.peers: $(VENV)/.dev
	@$(PIP) install --no-compile --constraint constraints.txt --editable '.[peers]'
	@touch $@

BENCHMARKS := $(addprefix benchmarks/,evaluator.py pipeline.py scheduling.py training.py step_profile.py scaling.py)
bench: $(VENV)/.peers ## speed and memory against peers, as ratios
	@for script in $(BENCHMARKS); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean: ## remove the environment and the caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
