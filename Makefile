# One command for each thing. Everything is installed into .venv with the versions of constraints.txt.
PYTHON ?= python3
SIZE ?= small
OUT ?= out/demo
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --quiet --disable-pip-version-check

# What make test skips where nothing to compare with is installed; here a skip is a failure.
WITH_OTHERS := $(addprefix tests/,models/test_convert_vit.py models/test_export.py inference/test_graphs.py \
  inference/test_detectors.py corpus/test_corpus_pipeline.py video/test_torchcodec.py test_people_benchmark.py)

.PHONY: help venv install demo test check format format-check lint types layers check-ci docs wheel bench clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/python-ready:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "make: $(PYTHON) must be Python 3.11 or newer (install it, or say: make PYTHON=python3.12 ...)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "make: the venv module is missing; on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: $(VENV)/python-ready pyproject.toml constraints.txt
	@echo "installing Tubelet into $(VENV) (once; about 2 GB with PyTorch)"
	@$(PIP) install --constraint constraints.txt torch
	@$(PIP) install --constraint constraints.txt --editable '.[demo,web]'
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@$(PIP) install --constraint constraints.txt --editable '.[demo,web,dev]'
	@touch $@

$(VENV)/installed-parity: $(VENV)/installed-dev
	@$(PIP) install --constraint constraints.txt --editable '.[demo,web,dev,docs,parity,ray]'
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed
	@$(PIP) install --constraint constraints.txt --editable '.[demo,web,docs]'
	@touch $@

install: $(VENV)/installed ## everything into .venv

venv: $(VENV)/python-ready ## only make the environment, to install another build of torch first

demo: $(VENV)/installed ## the whole path on rendered and real video, in 10 minutes (SIZE=tiny: 90 s)
	@$(BIN)/tubelet demo --size $(SIZE) --out $(OUT)

test: $(VENV)/installed-dev ## the tests
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --max-worker-restart 0

check: format-check lint types layers test ## format, lint, types, layers, tests

format: $(VENV)/installed-dev ## rewrite the files in the house format
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

format-check: $(VENV)/installed-dev ## is every file in the house format?
	@$(BIN)/ruff format --check .

lint: $(VENV)/installed-dev ## ruff and codespell
	@$(BIN)/ruff check . && $(BIN)/codespell src tests benchmarks scripts docs README.md CHANGELOG.md CONTRIBUTING.md

types: $(VENV)/installed-dev ## mypy --strict
	@$(BIN)/mypy

layers: $(VENV)/installed-dev ## imports go downwards only
	@$(BIN)/lint-imports

check-ci: $(VENV)/installed-parity ## what needs longer: killed runs, a Ray cluster, the wheel in an empty environment, every command in the documents
	@$(BIN)/python -m pytest -q -m ci
	@TUBELET_NO_SKIPS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --max-worker-restart 0 $(WITH_OTHERS)

docs: $(VENV)/installed-docs ## the site, into build/docs; no network needed once installed
	@$(BIN)/python -m sphinx -b html -q -W --keep-going docs build/docs && echo "open build/docs/index.html"

wheel: $(VENV)/installed ## build the wheel into dist/
	@rm -rf build dist && $(PIP) wheel --no-deps --wheel-dir dist . && ls -1 dist

bench: $(VENV)/installed-dev ## the benchmarks; results in benchmarks/results/
	@for b in playground decode loader mixture import_ava train_step faults evaluate corpus dedup_speed people inference models probe; do echo "== $$b"; $(BIN)/python benchmarks/$$b.py || exit 1; done

clean: ## remove what make made, but not the demo's results
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
