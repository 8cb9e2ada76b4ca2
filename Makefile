# Two commands on a fresh machine: `make demo` and `make test`. Both set up .venv themselves, once.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test smoke geo check bench schema lock clean
.DELETE_ON_ERROR:

demo: $(READY)  ## compare three ways of transfer on a real scene
	$(BIN)/hsray demo

test: $(READY)  ## the whole test run
	$(BIN)/python -m pytest

smoke: $(READY) geo  ## every table of the study in tiny, on simulated raw files, all strategies included
	$(BIN)/python -m tests.smoke

geo: $(READY)  ## the extra for Earth-observation encoders
	@$(BIN)/python -c 'import importlib.util as i, sys; sys.exit(i.find_spec("torchgeo") is None)' || \
		$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[geo]'

check: $(READY)  ## style and types
	$(BIN)/ruff check hsray tests
	$(BIN)/ruff format --check hsray tests
	$(BIN)/mypy

bench: $(READY)  ## overhead of a trial, way of the data
	$(BIN)/python -m tests.benchmarks

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("hsray needs Python 3.11 or newer; name one: make PYTHON=python3.12 demo" if sys.version_info < (3, 11) else 0)'
	@echo "setting up .venv (a few minutes, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

schema: $(READY)  ## publish the schema of experiment files
	$(BIN)/python -c 'import json; from hsray.experiment import Experiment; print(json.dumps(Experiment.model_json_schema(), indent=1))' > experiments/schema.json

lock: $(READY)  ## pin what is installed now as what was tested
	$(BIN)/python -m pip freeze --exclude-editable | grep -iE '^[a-z0-9_.-]+==' > constraints.txt

clean:
	rm -rf .venv build *.egg-info
