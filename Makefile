# Every target builds .venv itself when it is missing or older than what it was made from.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# Bytecode is compiled when a module is first imported, not for all 40,000 files at installation. Where the environment
# forbids to keep it, every process would compile all it imports again: seconds each time.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test test-fast test-long gpu lint format types docs leaderboard bench hashes clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/.runtime: pyproject.toml constraints.txt
	@echo "Building $(VENV) with $(PYTHON) (about two minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
ifdef HASHES
	@$(PIP) install --no-compile --require-hashes --no-deps --requirement constraints.hashed.txt
	@$(PIP) install --no-compile --constraint constraints.txt torch torchvision
	@$(PIP) install --no-compile --no-deps --no-build-isolation --editable .
else
	@$(PIP) install --no-compile --constraint constraints.txt torch
	@$(PIP) install --no-compile --constraint constraints.txt --editable .
endif
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo "Adding the development tools to $(VENV)"
	@$(PIP) install --no-compile --constraint constraints.txt --editable '.[dev]'
	@$(PIP) install --no-compile --constraint constraints.txt --editable '.[crf]' >/dev/null 2>&1 \
	    || echo "pydensecrf2 cannot be compiled here (C++ compiler?): the tests of predict.crf will skip"
	@touch $@

setup: $(VENV)/.runtime ## build the environment alone (HASHES=1: every file but torch's by its SHA-256)
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

bench: $(VENV)/.peers ## every benchmark against its peers; added to benchmarks/history.jsonl, figures into the docs (QUICK=1)
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick)
	$(BIN)/python -m benchmarks.figures

# torch and torchvision are left out, since which build is right depends on the machine; what torch needs besides CUDA
# is named here, and so is what installs this project.
TORCH_NEEDS := filelock fsspec jinja2 networkx setuptools sympy typing-extensions
INSTALLERS := editables hatchling
hashes: setup-dev ## write constraints.hashed.txt again, after constraints.txt has changed (asks the package index)
	@$(PIP) install --constraint constraints.txt uv
	@printf "torch; sys_platform == 'none'\ntorchvision; sys_platform == 'none'\n" > $(VENV)/left_out.txt
	@printf '%s\n' $(TORCH_NEEDS) $(INSTALLERS) | $(BIN)/uv pip compile --quiet pyproject.toml - \
	    --extra lite --extra figures --extra postgres --extra zoo --override $(VENV)/left_out.txt \
	    --no-emit-package torch --no-emit-package torchvision --constraint constraints.txt \
	    --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --output-file constraints.hashed.txt

clean: ## remove the environment and the caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
