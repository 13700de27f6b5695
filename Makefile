# Two commands: `make up DIR=incoming` masks what arrives in a folder, `make test` checks everything.
# Both set up what they need in .venv first; Python >= 3.11 with venv and pip is all they ask for.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DIR    ?= incoming
# Words for the benchmark: parts of it, and `--compare FILE` for the figures of an earlier run.
BENCH  ?= --markdown BENCHMARKS.md --json BENCHMARKS.json
# What the lock files are made of: hashes of every file, no host of any index.
COMPILE = $(BIN)/uv pip compile pyproject.toml --quiet --universal --generate-hashes \
          --no-emit-index-url --no-annotate --custom-compile-command 'make lock' --group build

.PHONY: up test lint bench lock clean

up: $(VENV)/run.stamp
	@mkdir -p "$(DIR)"
	@# Job control keeps Ctrl-C from make, which would end with an error before the night has ended.
	@if [ -t 0 ]; then set -m; fi; $(BIN)/maximaskd up "$(DIR)"

test: lint
	rm -f .coverage .coverage.*
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: $(VENV)/test.stamp
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m numpydoc lint $$(git ls-files 'settings/*.py' 'model/*.py' 'worker/*.py' 'watcher/*.py')

bench: $(VENV)/test.stamp
	$(BIN)/python -m tests.bench $(BENCH)

lock: $(VENV)/test.stamp
	$(BIN)/pip install --quiet uv
	$(COMPILE) --output-file requirements/run.lock $(UPGRADE)
	$(COMPILE) --group test --constraint requirements/run.lock \
	    --output-file requirements/test.lock $(UPGRADE)

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "maximaskd needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/%.stamp: requirements/%.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
