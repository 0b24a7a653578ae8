# One word for each habit. PYTHON chooses the interpreter, VENV the environment made from it.
PYTHON ?= python3
VENV ?= .venv
PIP_FLAGS ?= --quiet --disable-pip-version-check
BIN := $(VENV)/bin
# Another interpreter, or another list of dependencies, makes the environment anew.
STAMP := $(VENV)/.ready-$(shell $(PYTHON) -c 'import sys; print(*sys.version_info[:2], sep=".")')

.PHONY: setup demo test check bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install $(PIP_FLAGS) --upgrade pip
	$(BIN)/python -m pip install $(PIP_FLAGS) --prefer-binary -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/affect-edge demo

test: setup
	$(BIN)/python -m pytest $(TESTS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	deploy/check-unit
	$(BIN)/affect-edge models verify
	$(BIN)/affect-edge check

bench: setup
	$(BIN)/python -m benchmarks fps --source demo --in-memory --baseline

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
