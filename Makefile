.DEFAULT_GOAL := help
.PHONY: help setup tour test check format bench outside docs clean
bin := .venv/bin

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup:  ## make .venv and install Maquette
	@bash scripts/setup.sh

tour: setup  ## the main job: a story from each family, and a report to look at
	@$(bin)/maquette tour

test:  ## everything that must hold (at most 12 minutes on two cores)
	@bash scripts/setup.sh dev
	@$(bin)/python -m pytest --numprocesses 2 --dist loadfile

check:  ## formatter, linter, types, who may import whom, size of files, pages that tell of the code
	@bash scripts/setup.sh dev
	@$(bin)/ruff format --check --quiet . || { echo "run 'make format'"; exit 1; }
	@$(bin)/ruff check --quiet .
	@$(bin)/pyrefly check --summary=none --min-severity=error
	@found=$$($(bin)/lint-imports 2>&1) || { echo "$$found"; exit 1; }
	@$(bin)/python -m pytest tests/unit/test_architecture.py
	@$(bin)/python scripts/generate_docs.py --sources --check

format:  ## rewrite the sources in the house format, and the pages that tell of them
	@bash scripts/setup.sh dev
	@$(bin)/ruff check --fix --quiet . ; $(bin)/ruff format .
	@$(bin)/python scripts/generate_docs.py --sources

bench:  ## the benchmarks: nothing else should run beside them
	@bash scripts/setup.sh dev
	@for file in benchmarks/*.py; do $(bin)/python $$file || exit 1; done

outside:  ## one table of every check against other projects' readers and clients, in .venv-outside
	@VENV=.venv-outside bash scripts/setup.sh dev,hub,track,peers,sim
	@bash scripts/lerobot.sh
	@bash scripts/openpi.sh
	@.venv-outside/bin/python -m pytest -W default -m against --record results/outside.json tests/outside \
	  $$(grep -rl --include="test_*.py" "mark.against(" tests/parity tests/e2e tests/unit)

docs:  ## regenerate what is generated: RESULTS.md, tables in README.md and docs/, the API reference in docs/api
	@bash scripts/setup.sh dev
	@$(bin)/python scripts/generate_docs.py

clean:  ## remove .venv and runs/
	rm -rf .venv .venv-outside .venv-lerobot .venv-openpi runs
