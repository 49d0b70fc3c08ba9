# make demo   look at a model file that Keras saved
# make test   everything, against real Keras
# make check  lint and types
# make fuzz   mutated files, FUZZ_SECONDS for each of four kinds
# make bench  speed against peers
# make conformance  the suite over other tools, into conformance/RESULTS.md
# make docs   the site, into site/
# make docs-test  the site in a browser (Debian's chromium)
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
MODEL := tests/golden/keras-3.15.1/functional.keras
FUZZ_SECONDS ?= 600
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test check fuzz bench golden conformance docs docs-test clean

demo: $(VENV)/installed
	$(BIN)/refser inspect $(MODEL)
	$(BIN)/refser weights $(MODEL) --match 'layers/dense*'
	$(BIN)/refser summary $(MODEL)
	$(BIN)/refser validate --deep $(MODEL)
	rm -rf demo-out && mkdir demo-out
	$(BIN)/refser copy $(MODEL) demo-out/model.weights.h5
	$(BIN)/refser inspect demo-out/model.weights.h5

test: $(VENV)/installed-test
	$(BIN)/python -m pytest

check: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

fuzz: $(VENV)/installed-test
	REFSER_FUZZ_SECONDS=$(FUZZ_SECONDS) REFSER_FUZZ_PEER=1 $(BIN)/python -m pytest -n 0 -s tests/fuzz

bench: $(VENV)/installed-bench
	$(BIN)/python benchmarks/run.py

golden:
	$(PYTHON) tests/golden/make/run.py

conformance:
	$(PYTHON) conformance/results.py

docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

docs-test: docs
	$(BIN)/python -m pytest -n 0 -rs tests/test_docs.py

clean:
	rm -rf $(VENV) demo-out site .mypy_cache .ruff_cache .pytest_cache

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "refser needs Python 3.10 or later: make PYTHON=/path/to/python3")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(PIP) -e .
	touch $@

$(VENV)/installed-%: pyproject.toml | $(VENV)/bin/python
	$(PIP) -e '.[$*]'
	touch $@
