# make demo    fit Old Faithful, print a report, draw a picture, save the model and sample from it (build/demo/)
# make test    run every test, doctest and README example
#
# Both need Python 3.10 or newer and make, nothing else: what they need is installed into .venv, once.

PYTHON  ?= python3
VENV    ?= .venv
WORKERS ?= 2
PYTEST_ARGS ?=
BENCH_ARGS  ?=

BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.installed-to-run
DEV_STAMP := $(VENV)/.installed-to-develop
DOCS_STAMP := $(VENV)/.installed-to-document
REQUIREMENTS := pyproject.toml constraints.txt
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet -c constraints.txt

EXTRAS = $(shell sed -n '/^\[project.optional-dependencies\]/,/^\[tool/s/^\([a-z]*\) = \[.*/\1/p' pyproject.toml | paste -s -d , -)

# The tests run in WORKERS processes; each keeps to one thread: thread pools that share
# cores wait for one another, and the suite takes more than ten times as long.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test bench gpu-check docs test-docs env env-dev check lint format types imports wheel constraints clean

help:
	@echo "make demo         fit Old Faithful, print a report, draw and save it in build/demo/, sample from the saved model"
	@echo "make test         run every test, doctest and README example"
	@echo "make bench        measure speed and memory beside other libraries (BENCH_ARGS=--quick: whether it works)"
	@echo "make gpu-check    on a machine with a GPU: its tests, and all that docs/performance.md claims of one (8 minutes)"
	@echo "make check        lint, types and import contracts"
	@echo "make format       rewrite the code in the project's format"
	@echo "make docs         build the site in build/docs/, tutorials and pictures included; warnings are errors"
	@echo "make test-docs    try the site in a browser (chromium and chromedriver; skipped where they are not installed)"
	@echo "make wheel        build dist/"
	@echo "make constraints  rewrite constraints.txt with the newest versions"
	@echo "make clean        remove everything that was built, .venv included"

demo: $(RUN_STAMP)
	$(BIN)/python examples/demo.py --output build/demo

test: $(RUN_STAMP)
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_ARGS)

bench: $(RUN_STAMP)
	$(BIN)/python benchmarks/run.py $(BENCH_ARGS)

# On a machine with a GPU, by whatever Python has torch for it: PYTHON=...
gpu-check:
	PYTHONPATH=src $(PYTHON) benchmarks/run.py gpu $(BENCH_ARGS)

# From nothing each time: what the tutorials print is the library's output of today.
docs: $(DOCS_STAMP)
	rm -rf build/docs build/doctrees build/plot_directive docs/tutorials
	$(ONE_THREAD) $(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -b html -d build/doctrees docs build/docs

test-docs: docs $(RUN_STAMP)
	$(BIN)/python -m pytest docs/tests

env: $(RUN_STAMP)

env-dev: $(DEV_STAMP)

check: lint types imports

lint: $(DEV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(DEV_STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(DEV_STAMP)
	$(BIN)/pyright --pythonpath $(BIN)/python

imports: $(DEV_STAMP)
	$(BIN)/lint-imports

wheel: $(DEV_STAMP)
	rm -rf dist
	$(BIN)/python -m build --outdir dist .

constraints:
	rm -rf build/constraints-venv
	$(PYTHON) -m venv build/constraints-venv
	build/constraints-venv/bin/python -m pip --disable-pip-version-check install --quiet \
		"$$(grep '^torch==' constraints.txt)" -e '.[$(EXTRAS)]'
	build/constraints-venv/bin/python tools/freeze_constraints.py

clean:
	rm -rf $(VENV) build dist docs/tutorials .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "tgmm needs Python 3.10 or newer: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) has no venv module (on Debian and Ubuntu: the package python3-venv)" >&2; exit 1; }

$(RUN_STAMP): $(REQUIREMENTS) | $(BIN)/python
	$(PIP) -e '.[test]'
	@touch $@

$(DOCS_STAMP): $(REQUIREMENTS) | $(BIN)/python
	$(PIP) -e '.[docs]'
	@touch $@

$(DEV_STAMP): $(REQUIREMENTS) | $(BIN)/python
	$(PIP) -e '.[dev]'
	@touch $@ $(RUN_STAMP)
