# make demo    fit Old Faithful, print a report, draw a picture, save the model and sample from it (build/demo/)
# make test    run every test, doctest and README example
#
# Both need Python 3.10 or newer and make, nothing else. The first run installs what they need into .venv.

PYTHON  ?= python3
VENV    ?= .venv
WORKERS ?= 2
PYTEST_ARGS ?=
BENCH_ARGS  ?=

BIN := $(VENV)/bin
DEMO_STAMP := $(VENV)/.installed-for-the-demo
RUN_STAMP := $(VENV)/.installed-to-run
DEV_STAMP := $(VENV)/.installed-to-develop
DOCS_STAMP := $(VENV)/.installed-to-document
REQUIREMENTS := pyproject.toml constraints.txt
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet -c constraints.txt

EXTRAS = $(shell sed -n '/^\[project.optional-dependencies\]/,/^\[tool/s/^\([a-z]*\) = \[.*/\1/p' pyproject.toml | paste -s -d , -)

# The tests run in WORKERS processes of one thread each. Thread pools that share cores wait
# for one another, which makes the suite more than ten times slower.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test bench gpu-check docs test-docs env env-dev check lint format types imports wheel constraints clean

help:
	@echo "make demo         fit Old Faithful, print a report, save a picture and the model in build/demo/ (5 seconds)"
	@echo "make test         run every test, doctest and README example (6 to 12 minutes on two cores)"
	@echo "make bench        compare speed and memory with other libraries (BENCH_ARGS=--quick: only check that it runs)"
	@echo "make gpu-check    on a machine with a GPU: run its tests and check what docs/performance.md claims"
	@echo "make check        check lint, types and import contracts"
	@echo "make format       rewrite the code in the project's format"
	@echo "make docs         build the site, tutorials and pictures included, in build/docs/ (about 5 minutes)"
	@echo "make test-docs    test the site in a browser (chromium and chromedriver; skipped without them)"
	@echo "make wheel        build dist/"
	@echo "make constraints  rewrite constraints.txt with the newest versions"
	@echo "make clean        remove everything that was built, .venv included"
	@echo
	@echo "The first run of a command installs what it needs into $(VENV)."

demo: $(DEMO_STAMP)
	$(BIN)/python examples/demo.py --output build/demo

test: $(RUN_STAMP)
	@echo "Running all tests in $(WORKERS) processes. With two, this takes 6 to 12 minutes."
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_ARGS)

bench: $(RUN_STAMP)
	$(BIN)/python benchmarks/run.py $(BENCH_ARGS)

# On a machine with a GPU: set PYTHON to an interpreter whose torch supports it.
gpu-check:
	PYTHONPATH=src $(PYTHON) benchmarks/run.py gpu $(BENCH_ARGS)

# Every build starts from nothing, so that the tutorials show what the library prints today.
docs: $(DOCS_STAMP)
	rm -rf build/docs build/doctrees build/plot_directive docs/tutorials
	@echo "Building the site, which takes about 5 minutes."
	$(ONE_THREAD) $(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -b html -d build/doctrees docs build/docs
	@echo "The site is built. Open $(CURDIR)/build/docs/index.html"

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

$(DEMO_STAMP): $(REQUIREMENTS) | $(BIN)/python
	@echo "Installing tgmm with PyTorch and matplotlib into $(VENV). This happens once and takes a minute or more."
	$(PIP) -e '.[plot]'
	@touch $@

$(RUN_STAMP): $(REQUIREMENTS) | $(BIN)/python
	@echo "Installing tgmm with everything that its tests need into $(VENV). This happens once and takes a few minutes."
	$(PIP) -e '.[test]'
	@touch $@ $(DEMO_STAMP)

$(DOCS_STAMP): $(REQUIREMENTS) | $(BIN)/python
	@echo "Installing tgmm and Sphinx into $(VENV). This happens once and takes a minute or more."
	$(PIP) -e '.[docs]'
	@touch $@ $(DEMO_STAMP)

$(DEV_STAMP): $(REQUIREMENTS) | $(BIN)/python
	@echo "Installing tgmm with all development tools into $(VENV). This happens once and takes a few minutes."
	$(PIP) -e '.[dev]'
	@touch $@ $(RUN_STAMP) $(DEMO_STAMP)
