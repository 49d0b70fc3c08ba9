# make demo   look at a model file that Keras saved
# make test   everything, against real Keras
# make check  lint and types
# make bench  speed against peers
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
MODEL := tests/golden/keras-3.15.1/functional.keras
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test check bench golden clean

demo: $(VENV)/installed
	$(BIN)/refser inspect $(MODEL)
	$(BIN)/refser weights $(MODEL) --match 'layers/dense*'
	rm -rf demo-out && mkdir demo-out
	$(BIN)/refser copy $(MODEL) demo-out/model.weights.h5
	$(BIN)/refser inspect demo-out/model.weights.h5

test: $(VENV)/installed-test
	$(BIN)/python -m pytest

check: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(VENV)/installed-bench
	$(BIN)/python benchmarks/run.py

golden:
	$(PYTHON) tests/golden/make/run.py

clean:
	rm -rf $(VENV) demo-out .mypy_cache .ruff_cache .pytest_cache

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "refser needs Python 3.10 or later: make PYTHON=/path/to/python3")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(PIP) -e .
	touch $@

$(VENV)/installed-%: pyproject.toml | $(VENV)/bin/python
	$(PIP) -e '.[$*]'
	touch $@
