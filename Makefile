# Each target sets up what it needs: .venv is made once, and brought up to date when
# pyproject.toml or constraints.txt changes.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
OLDEST := $(shell sed -n 's/^requires-python = ">=\(.*\)"$$/\1/p' pyproject.toml)

.DEFAULT_GOAL := help
.PHONY: help train test lint clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)
	@echo '  PYTHON=... names the Python to use, ARGS="..." is passed on by train and test'

train: $(VENV)/installed ## train a model: make train ARGS="normalization=none seed=2"
	$(BIN)/python train.py $(ARGS)

test: $(VENV)/installed ## run the tests: make test ARGS="-m 'not slow'"
	$(BIN)/python -m pytest -n auto --maxprocesses 4 $(ARGS)

lint: $(VENV)/installed ## ruff's checks and format, pyright's types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

clean: ## remove .venv and the caches; runs/ stays
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis src/*.egg-info

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < tuple(map(int, "$(OLDEST)".split("."))))' \
	|| { echo 'normlab needs Python $(OLDEST) or newer, which "$(PYTHON)" is not.' \
	     'Name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt -e '.[test]'
	@touch $@
