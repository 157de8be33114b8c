# Two commands are all a fresh machine needs: make demo, make test.
# (Debian 12 with python3, python3-venv and make.)

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/ready
# What an operator adds: make demo ARGS=--once, make test ARGS="-k whitelist"
ARGS   ?=

.PHONY: demo test lint bench soak clean lock

demo: $(READY)
	$(BIN)/cvmfs-mirror demo $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest -n auto $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

soak: $(READY)
	CVMFS_MIRROR_SOAK=1 $(BIN)/python -m pytest -m soak --timeout 3600 $(ARGS)

bench: $(READY)
	$(BIN)/python bench/snapshot.py $(ARGS)
	$(BIN)/python bench/publish.py

# The virtual environment is made once and again whenever the locked requirements change.
$(READY): requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .
	touch $(READY)

# After a change of the dependencies in pyproject.toml; needs uv.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-header --no-annotate --no-emit-index-url --no-emit-find-links
lock:
	$(LOCK) pyproject.toml --output-file requirements/run.txt
	$(LOCK) pyproject.toml --group dev --constraint requirements/run.txt --output-file requirements/dev.txt

clean:
	rm -rf $(VENV)
