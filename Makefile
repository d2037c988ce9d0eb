# `make help` lists the targets. Only Python 3.11 or later, with its venv module, has to be here beforehand.
PYTHON ?= python3
VENV ?= .venv
BUILD ?= build

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SOURCES := bfr_lite tests notebooks data

.DEFAULT_GOAL := help
.PHONY: help venv notebooks lab labs test bench lint format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Made again only when a dependency changes; the package itself is installed in place.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; \
		sys.exit(0 if sys.version_info >= (3, 11) else f"Python 3.11 or later is needed, $(PYTHON) is {v}: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

venv: $(INSTALLED) ## make .venv and install the pinned packages, if that is not done

notebooks: $(INSTALLED) ## run copies of the notebooks; HTML pages in build/html, a picture in build/before_after.png
	@mkdir -p $(BUILD)
	$(BIN)/python notebooks/before_after.py $(BUILD)/before_after.png
	$(BIN)/python notebooks/build.py --output $(BUILD) --picture $(BUILD)/before_after.png

lab: $(INSTALLED) ## open the series in JupyterLab
	$(BIN)/jupyter lab notebooks/00_tour.ipynb

# nbgrader reads its settings from the folder it runs in, and starts alembic by name.
labs: $(INSTALLED) ## make the students' release of the labs for courses
	cd notebooks/labs && PATH="$(abspath $(BIN)):$$PATH" nbgrader generate_assignment --assignment='*' --force \
		--log-level=ERROR
	@echo "students get notebooks/labs/release/; grading: notebooks/labs/README.md"

test: $(INSTALLED) ## run everything: style, unit tests, parity with the references, all notebooks
	@$(BIN)/python -m pytest -n 2 --dist loadfile

# The two generators come without what they ask for, see `bench` in pyproject.toml; nothing that is here changes.
$(VENV)/.bench: $(INSTALLED)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt --no-deps stylegan2_pytorch labml-nn
	@touch $@

bench: $(VENV)/.bench ## measure speed against other packages; keep the machine idle meanwhile
	$(BIN)/python data/benchmarks/speed.py

lint: $(INSTALLED) ## check style alone
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

format: $(INSTALLED) ## put style right where that can be done by itself
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

clean: ## remove what was built and the environment
	rm -rf $(BUILD) $(VENV) bfr_lite.egg-info
