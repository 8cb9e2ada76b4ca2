# Two commands on a fresh machine: `make demo` and `make test`. Both set up .venv themselves, once.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
export PIP_DISABLE_PIP_VERSION_CHECK := 1

N ?= 50
SEED ?= 0
TESTS ?= tests/reliability
JOBS ?= 2

.PHONY: browser chaos fuzz infra-check leaderboard-bench reliability demo test smoke geo check bench schema lock clean
.DELETE_ON_ERROR:

demo: $(READY)  ## compare three ways of transfer on a real scene
	$(BIN)/hsray demo

test: $(READY)  ## the whole test run
	$(BIN)/python -m pytest

reliability: $(READY)  ## what needs whole sweeps under faults, several nodes, servers: minutes each, not in `make test` (TESTS=… some)
	$(BIN)/python -m pytest $(TESTS)

chaos: $(READY)  ## N tiny sweeps (make chaos N=50 SEED=0), a random fault in each, and what was lost
	$(BIN)/python -m tests.reliability.chaos --count $(N) --seed $(SEED) --jobs $(JOBS)

smoke: $(READY) geo  ## every table of the study in tiny, on simulated raw files, all strategies included
	$(BIN)/python -m tests.smoke

geo: $(READY)  ## the extra for Earth-observation encoders
	@$(BIN)/python -c 'import importlib.util as i, sys; sys.exit(i.find_spec("torchgeo") is None)' || \
		$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[geo]'

fuzz: $(READY)  ## every reader under broken and hostile files, 1,000 each (FUZZ_EXAMPLES=…)
	$(BIN)/python -m pytest tests/fuzz

browser: $(READY)  ## the report and the dashboard in a real Chromium, which must be installed
	$(BIN)/python -m pytest tests/browser

check: $(READY)  ## style and types
	$(BIN)/ruff check hsray tests dashboards
	$(BIN)/ruff format --check hsray tests dashboards
	$(BIN)/mypy

infra-check: $(READY)  ## the files in infra/ and dashboards/, checked by the tools of their kinds and run where they can be
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[infra]'
	$(BIN)/python -m pytest tests/infra

bench: $(READY)  ## overhead of a trial, way of the data
	$(BIN)/python -m tests.benchmarks

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("hsray needs Python 3.11 or newer; name one: make PYTHON=python3.12 demo" if sys.version_info < (3, 11) else 0)'
	@echo "setting up .venv (a few minutes, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

leaderboard-bench: $(READY)  ## 100,000 simulated runs: mirror, table and dashboard against MLflow's own search
	$(BIN)/python -m tests.benchmarks.leaderboard

schema: $(READY)  ## publish the schema of experiment files
	$(BIN)/python -c 'import json; from hsray.experiment import Experiment; print(json.dumps(Experiment.model_json_schema(), indent=1))' > experiments/schema.json

lock: $(READY)  ## pin what is installed now as what was tested
	$(BIN)/python -m pip freeze --exclude-editable | grep -iE '^[a-z0-9_.-]+==' > constraints.txt

clean:
	rm -rf .venv build *.egg-info
