# The two commands: `make demo` runs everything end to end, `make test` checks everything. Each sets up what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= demo-output
PINS := neurodeploy/constraints.txt

ZOO ?= zoo-output

.PHONY: demo test zoo lint types pytest docs docs-check bench install-check clean
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
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

# A site in site/, to be read without a server; tests/test_site.py builds it, too.
docs: $(VENV)/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "Open site/index.html"

# Runs what takes minutes in README and docs, too, and compares; WRITE=1 puts what was printed in place.
docs-check: $(VENV)/.installed
	$(BIN)/neurodeploy lava setup
	$(BIN)/python -m tests.pages --slow $(if $(WRITE),,--check)

# Trains the published systems, deploys them and prints the table; hours, and it goes on where it was stopped.
zoo: $(VENV)/.installed
	$(BIN)/neurodeploy lava setup
	$(BIN)/python benchmarks/zoo.py --output $(ZOO)

bench: $(VENV)/.installed
	for script in $(filter-out benchmarks/zoo.py,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

# What users are told to install can be installed, for each Python named; minutes, and a network.
PYTHONS ?= 3.11 3.13
install-check: $(VENV)/.installed
	$(BIN)/python -m tests.install.check --pythons $(PYTHONS)

# The environment: made once, brought up to date when what it is made from changes, and made from nothing when it has
# moved, its Python is gone or was replaced by another version, or PYTHON asks for another. pip's own words show all of
# that: "pip 24.0 from ... (python 3.11)".
FOUND := $(shell $(BIN)/pip --version 2>/dev/null | tr -d '()' | sed 's/.* //')
ifneq ($(origin PYTHON),file)
ASKED := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo none)
endif
USABLE := $(and $(FOUND),$(if $(ASKED),$(filter $(ASKED),$(FOUND)),yes))

ifeq ($(USABLE),)
.PHONY: $(VENV)/.installed
endif

$(VENV)/.installed: pyproject.toml $(PINS)
ifeq ($(USABLE),)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "neurodeploy needs Python 3.11 or newer; found: $$($(PYTHON) --version 2>&1)."; \
	  echo "Name another one: make demo PYTHON=python3.12"; exit 2; }
	@[ ! -d $(VENV) ] || echo "$(VENV) does not run, or is of another Python$(if $(FOUND), ($(FOUND))); making it anew."
	@echo "Setting up $(VENV) (once; a few minutes, most of it PyTorch) ..."
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
else
	@echo "Bringing $(VENV) up to date ..."
endif
	@# The distribution was called neurodeploy before: two of them would provide one command.
	rm -rf neurodeploy.egg-info
	$(BIN)/python -m pip uninstall --quiet --yes neurodeploy 2>/dev/null
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(PINS) --editable '.[dev]'
	@# sinabs pins nir to 1.0.4 and asks for a chip's driver; it runs without both.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(PINS) --no-deps sinabs
	@touch $@

clean:
	rm -rf $(VENV) $(OUT) site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
