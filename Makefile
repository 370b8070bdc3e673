# The two commands: `make demo` runs everything end to end, `make test` checks everything. Each sets up what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= demo-output

.PHONY: demo test lint types pytest bench clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed
	$(BIN)/neurodeploy lava setup
	$(BIN)/neurodeploy demo --output $(OUT)

test: $(VENV)/.installed
	$(BIN)/neurodeploy lava setup
	$(MAKE) --no-print-directory lint types pytest

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy

pytest: $(VENV)/.installed
	$(BIN)/python -m pytest

bench: $(VENV)/.installed
	for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

# The environment: made once, made again when what it is made from changes, or when its Python does not run any more.
ifneq ($(wildcard $(VENV)/.installed),)
ifneq ($(shell $(BIN)/python -c 'print("runs")' 2>/dev/null),runs)
.PHONY: $(VENV)/.installed
endif
endif

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "neurodeploy needs Python 3.11 or newer; found: $$($(PYTHON) --version 2>&1)."; \
	  echo "Name another one: make demo PYTHON=python3.12"; exit 2; }
	@echo "Setting up $(VENV) (once; a few minutes, most of it PyTorch) ..."
	@# Packages of another Python, or of one that is gone, would be mixed with this one's: begin from nothing then.
	@ours=$$($(PYTHON) -c 'import sys; print(sys.version_info[:2])'); \
	  [ ! -d $(VENV) ] || [ "$$($(BIN)/python -c 'import sys; print(sys.version_info[:2])' 2>&1)" = "$$ours" ] \
	  || { echo "$(VENV) belongs to another Python; making it anew."; rm -rf $(VENV); }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@# sinabs pins nir to 1.0.4 and asks for a chip's driver; it runs without both.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps sinabs
	@touch $@

clean:
	rm -rf $(VENV) $(OUT) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
