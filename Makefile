# `make run` and `make test` do all set-up themselves; set-up is not repeated.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export MLFLOW_DISABLE_TELEMETRY := true
# Of the UI, and of the addresses that runs print.
export MLFLOW_PORT := $(or $(PORT),$(MLFLOW_PORT),5000)
AT_ONCE := --numprocesses auto --maxprocesses 4 --dist loadfile
# Python is quick to start only with its bytecode kept.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup run test slow-test fuzz docs-test cluster-test browser-test screenshots lint format ui bench audit lock

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(READY)  ## virtual environment with the locked dependencies

$(READY): requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else "ssgan needs Python 3.11 to 3.13, %s is %d.%d: make PYTHON=python3.12" % (sys.executable, *v))'
	@echo "ssgan: making $(VENV)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^uv==' requirements-dev.txt)"
	@echo "ssgan: installing the locked libraries (TensorFlow is large: a minute or more on a slow line)"
	$(BIN)/uv pip sync --require-hashes requirements.lock
	@echo "ssgan: importing them once, which keeps their bytecode: half a minute at most"
	@{ $(BIN)/python -c "import mlflow.cli, mlflow.projects" && echo "ssgan: MLflow is ready"; \
		$(BIN)/python -c "import pipeline.runs.flow, experiments.search.conduct, matplotlib.font_manager, sklearn.neighbors"; } & \
		{ $(BIN)/python -c "import tensorflow" 2>/dev/null && echo "ssgan: TensorFlow is ready"; \
		$(BIN)/python -c "import mlflow.keras, pipeline.training.loop" 2>/dev/null; } & wait
	touch $@

run: $(READY)  ## the pipeline on the bundled digits, with 10 % of the labels
	mlflow run . --env-manager local --experiment-name ssgan -P label_frac=0.1

test: $(READY)  ## the quick tests, a process a core, four at most
	python -m pytest $(AT_ONCE)

slow-test: $(READY)  ## what the suite leaves out: whole runs, searches and curves, killed and gone on with
	python -m pytest $(AT_ONCE) -m slow

fuzz: $(READY)  ## thousands of hostile inputs for what the suite tries with few (minutes)
	python -m pytest tests/properties --hypothesis-profile=fuzz

docs-test: $(READY)  ## every command of README.md and docs/, on a small budget
	python -m pytest -m docs tests/docs

cluster-test: $(READY)  ## a study on PostgreSQL, an MLflow server and two Ray nodes, all started here
	.ci/cluster
	python -m pytest -m cluster tests/cluster

browser-test: $(READY)  ## what MLflow's UI shows of our runs, seen with Chromium
	.ci/browser
	python -m pytest -m browser tests/browser

screenshots: $(READY)  ## the pictures of the UI in docs/images, from new runs (minutes)
	.ci/browser
	python -m tests.browser.screenshots

lint: $(READY)  ## formatting, lint, types
	ruff format --check .
	ruff check .
	mypy

format: $(READY)  ## format and mend what can be mended
	ruff format .
	ruff check --fix .

ui: $(READY)  ## MLflow's UI on this folder's runs; PORT=5001 if 5000 is taken
	@python -m pipeline ui

bench: $(READY)  ## error on digits beside scikit-learn's methods, and where a step's time goes
	python -m benchmarks.digits
	python -m benchmarks.profile --method ssgan --markdown docs/profile.md

audit: $(READY)  ## ask PyPI for known faults of the locked libraries
	uvx --from pip-audit==2.10.1 pip-audit --disable-pip --require-hashes --requirement requirements.lock

lock: $(READY)  ## compile requirements.lock anew from requirements*.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header requirements.txt requirements-pretrained.txt requirements-dev.txt -o requirements.lock
