# Everything sets itself up: the environment is .venv/, the command .venv/bin/lvspec.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# one thread a process: small models gain nothing from more, and lose much where cores are shared
export OMP_NUM_THREADS = 1
# sources are compiled when they are first imported, those of packages too, and later processes find them so
unexport PYTHONDONTWRITEBYTECODE

.PHONY: all demo test slow bench lint format clean
all: test

$(READY): pyproject.toml setup.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q --no-compile -c constraints.txt -e '.[dev]'
	touch $(READY)

demo: $(READY)
	$(BIN)/python examples/demo.py

test: $(READY)
	$(BIN)/pytest -q -n 2 --dist worksteal -m 'not slow'

slow: $(READY)
	$(BIN)/pytest -q -n 2 --dist worksteal -m slow

bench: $(READY)
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.guard

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
