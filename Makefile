# `make help` lists everything. Each target makes .venv itself; a second run re-uses it.
include fieldmark/core/telemetry.env
export $(shell sed 's/=.*//' fieldmark/core/telemetry.env)
export PATH := $(CURDIR)/.venv/bin:$(PATH)
PYTHON ?= python3
READY := .venv/.ready
SHELL := bash
.SHELLFLAGS := -o pipefail -c
PIP := .venv/bin/python -m pip install --disable-pip-version-check --no-deps
BAR := .venv/bin/python -m tqdm --null --mininterval 1

.DEFAULT_GOAL := help
.PHONY: help setup lint style types test pytest test-browser repro claims measure-all flow serve ui bench lock clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(READY)  ## make .venv from requirements.lock

$(READY): requirements.lock pyproject.toml
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@$(PIP) --quiet $$(grep ^tqdm== requirements.lock)  # the bar comes before all that it counts
	@$(PIP) --no-compile -r requirements.lock | grep --line-buffered -E '^(Collecting|Requirement|Ignoring|Successfully)' \
		| $(BAR) --desc install --unit package --total $$(($$(grep -c == requirements.lock) + 1))
	@$(PIP) --quiet --no-build-isolation -e .
	@.venv/bin/python -m compileall -j 0 -x '/tests?/' .venv/lib fieldmark stages | grep ^Compiling \
		| $(BAR) --desc compile --unit file || true  # once, on all cores: a stage then starts in half the time
	@touch $@

repro: setup  ## run the main job: from pull to champion and report
	@python -m pipelines.mend
	@python -m pipelines.warm python -m pipelines.parallel && fieldmark show

claims: setup  ## put the papers' claims to the test, five seeds each (five hours); verdicts go to data/claims/
	@python -m pipelines.apart papers papers-zoom papers-shapes papers-scratch papers-vit

measure-all: setup  ## measure all there is to measure, attacks too, apart from the main job (an hour)
	@python -m pipelines.apart everything

flow: setup  ## run the same graph as a Prefect flow, on a local server and worker
	@python -m pipelines.flow

serve: setup  ## start Prefect's server, a worker and the nightly schedule on this machine
	@python -m pipelines.serve

ui: setup  ## open MLflow on this machine only (127.0.0.1:5000)
	@fieldmark ui

lint: style types  ## style, types and the rules of the rooms

style: setup
	@ruff check . && ruff format --check .

types: setup
	@mypy && lint-imports

test: style  ## all tests but the browser's, and meanwhile the types
	@$(MAKE) --no-print-directory --jobs 2 types pytest

# three workers on two cores: some tests wait for servers and locks
pytest: setup
	@python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not browser"

test-browser: setup  ## the tests that open pages in Chromium
	@python -m pytest -m browser

bench: setup  ## run all of bench/ after make repro: speeds, kills, coverage of intervals, settings (hours)
	@for script in bench/*.py; do echo "== $$script"; python -m $$(echo $${script%.py} | tr / .) || exit 1; done

lock:  ## resolve pyproject.toml in a clean environment and write requirements.lock
	@rm -rf .cache/lock && $(PYTHON) -m venv .cache/lock && .cache/lock/bin/pip install --quiet --upgrade "pip>=25.1"
	@.cache/lock/bin/pip install --quiet "torch==2.13.0" ".[vit,audit]" --group dev
	@{ echo "# Resolved and run together on Python 3.11 (make lock). On a machine with a GPU the same torch pin gives the CUDA build."; \
	   .cache/lock/bin/pip freeze | grep -vE '^(fieldmark|opencv-python=)' | sed 's/^torch==.*/torch==2.13.0/'; \
	   echo 'async-timeout==5.0.1; python_full_version < "3.11.3"'; } > requirements.lock  # redis needs it there

clean:  ## remove the environment, caches and what can be made again in data/ (not the registry and its ledger)
	git clean -fdXq -e '!**/data/registered/' data
	rm -rf .venv .cache .dvc/cache .dvc/tmp .mypy_cache .ruff_cache .pytest_cache dist
