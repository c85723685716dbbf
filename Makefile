# Chores, the same for people and CI. The environment is .venv; nothing outside this folder and the cache is touched.

.DEFAULT_GOAL := help
.PHONY: help install quickstart lint test test-slow screenshots clean

# The first interpreter that autonas supports and that really runs.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

help:
	@echo "make quickstart   install, and search on this machine: minutes; ends in reports/quickstart.html"
	@echo "make test         lint, types, import layers and the tests"
	@echo "make test-slow    the tests that take long"
	@echo "make lint         lint, types and import layers alone"
	@echo "make screenshots  pictures of reports/example.html for README and docs; needs chromium and chromium-driver"
	@echo "make clean        remove the environment and build files; studies and reports stay"

.venv/installed: setup.cfg pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "autonas needs Python 3.11, 3.12 or 3.13; none was found. Give one: make PYTHON=/path/to/python3" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/installed-tests: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

# llama.cpp is built from source: five minutes on two cores. Only what its library needs, for any processor of this kind.
LLAMA_CMAKE := -DLLAVA_BUILD=OFF -DLLAMA_CURL=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TESTS=OFF \
	-DLLAMA_BUILD_SERVER=OFF -DGGML_NATIVE=OFF -DGGML_OPENMP=OFF -DGGML_LLAMAFILE=OFF -DGGML_CPU_REPACK=OFF

.venv/installed-slow: .venv/installed-tests
	CMAKE_ARGS="$(LLAMA_CMAKE)" $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[llama]'
	@touch $@

install: .venv/installed

quickstart: .venv/installed
	$(BIN)/autonas search --space quickstart.yaml $(if $(wildcard trials/quickstart/ledger.journal),--resume)
	@echo "Open reports/quickstart.html in a browser."

lint: .venv/installed-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Two at a time, a file by one of them: what a file's tests share is made once.
test: lint
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow and not gpu" --durations=20

test-slow: .venv/installed-tests .venv/installed-slow
	$(BIN)/pytest -m "slow and not gpu" --durations=10

screenshots: .venv/installed-tests
	$(BIN)/python -m tests.screenshots

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find autonas tests -name __pycache__ -type d -prune -exec rm -rf {} +
