# Every target sets itself up: a machine with Python >= 3.11 and pip is enough.

OLD_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
IS_NEWEST := import sys; sys.exit(sys.version_info[:2] != (3, 13))
SAY_PATH := import sys; print(sys.executable)

# The machine's Python, and the newest one that we support (through pyenv, where that is how the machine keeps its Pythons).
PYTHON ?= $(shell for python in python3 python python3.13 python3.12 python3.11; do \
	$$python -c '$(OLD_ENOUGH)' 2>/dev/null && { $$python -c '$(SAY_PATH)'; break; }; done)
NEWEST_PYTHON ?= $(shell for python in python3.13 python3 python; do for PYENV_VERSION in "$$PYENV_VERSION" 3.13 3.13.0; do \
	export PYENV_VERSION; [ -n "$$PYENV_VERSION" ] || unset PYENV_VERSION; \
	$$python -c '$(IS_NEWEST)' 2>/dev/null && { $$python -c '$(SAY_PATH)'; break 2; }; done; done)

PYTEST := .venv/bin/python -m pytest

.PHONY: demo test test-torch test-newest check bench faults docs clean strace
.NOTPARALLEL:

demo: .venv/installed-demo
	.venv/bin/asyncinfer demo

test: .venv/installed-test strace
	$(PYTEST)
	@$(MAKE) --no-print-directory test-torch test-newest

# --verifytypes asks the first python on PATH where the packages are, whatever the settings say.
check: .venv/installed-dev
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/lint-imports --no-cache
	.venv/bin/mypy
	.venv/bin/pyright
	PATH="$(CURDIR)/.venv/bin:$$PATH" pyright --verifytypes asyncinfer --ignoreexternal

bench: .venv/installed-bench
	.venv/bin/python -m benchmarks

faults: .venv/installed-test strace
	$(PYTEST) tests/faults --size rel -o faulthandler_timeout=7200

docs: .venv/installed-docs
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict

clean:
	rm -rf .venv .venv-newest build dist site .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find asyncinfer backends tests benchmarks docs tools -name __pycache__ -prune -exec rm -rf {} +

# One environment, and a stamp for each set of extras, so that the demo waits for nothing but its own.
.venv/installed-%: pyproject.toml | .venv/bin/python
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

.venv/bin/python:
	@[ -n "$(PYTHON)" ] || { echo "No Python >= 3.11 was found: install one, or name it: make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv .venv

# The tests that need torch, in a step of their own: nobody else waits for it.
test-torch: .venv/installed-test .venv/installed-torch-for-tests
	$(PYTEST) tests/core/test_torch_codec.py tests/backends/test_torch_in_processes.py tests/test_torch_example.py

.venv/installed-torch-for-tests: requirements/torch.txt requirements/embedding.txt | .venv/bin/python
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements/torch.txt
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements/embedding.txt
	@touch $@

ifeq ($(NEWEST_PYTHON),)
test-newest:
	@echo "NOT RUN on Python 3.13: none was found. Install it, or name it: make test NEWEST_PYTHON=/path/to/python3.13"
else ifeq ($(shell .venv/bin/python -c '$(IS_NEWEST)' 2>/dev/null && echo same),same)
test-newest:
	@echo "The machine's Python is the newest that we support: one run is enough."
else
test-newest: .venv-newest/installed-test
	.venv-newest/bin/python -m pytest -m "not fault"
endif

.venv-newest/installed-%: pyproject.toml | .venv-newest/bin/python
	.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

.venv-newest/bin/python:
	$(NEWEST_PYTHON) -m venv .venv-newest

# The power-cut test (F4) records system calls with it.
strace:
	@command -v strace >/dev/null && exit 0; \
	[ "$$(uname)" = Linux ] || { echo "strace is for Linux: the power-cut test is skipped here"; exit 0; }; \
	[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && { \
		apt-get install -y -qq strace || { apt-get update -qq && apt-get install -y -qq strace; }; } && exit 0; \
	echo "The power-cut test needs strace. Type: sudo apt-get install -y strace"; exit 1
