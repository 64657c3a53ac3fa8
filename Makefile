# Two commands: `make lab` sets everything up and opens JupyterLab, `make test` sets everything up and proves it.
# All that they need beyond make, git and Python with venv comes from packages.

SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
export UV_LINK_MODE ?= copy

.PHONY: lab test setup notebooks requirements clean

lab: setup
	@$(BIN)/python -m faqlab.lab

test: setup
	@$(BIN)/python tests/run.py

setup: $(READY)

# Runs every notebook in order and saves the outputs in place.
notebooks: setup
	@for notebook in notebooks/0*.ipynb; do \
		$(BIN)/python -m pytest -q --nbmake --nbmake-timeout=600 --timeout=900 --overwrite $$notebook || exit 1; \
		$(BIN)/python notebooks/tidy.py $$notebook; \
	done

# Pins what pyproject.toml allows. The file holds names and versions only, no addresses.
requirements: setup
	$(BIN)/python -m uv pip compile -q --universal pyproject.toml --extra dev --upgrade \
		--no-header --no-annotate --no-emit-index-url -o requirements.txt

clean:
	rm -rf .venv faqlab/web/node_modules faqlab/web/dist .pytest_cache .mypy_cache .ruff_cache

$(READY): requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "faqlab needs Python 3.11, 3.12 or 3.13: install it, or say PYTHON=/path/to/python3."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
		{ echo "faqlab needs Python 3.11, 3.12 or 3.13; $$($(PYTHON) --version) is here: say PYTHON=/path/to/python3.12."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "Python has no venv module: install it (Debian and Ubuntu: apt install python3-venv)."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m uv --version >/dev/null 2>&1 || $(BIN)/python -m pip install -q --disable-pip-version-check uv
	@echo "Installing the pinned packages (once: half a minute to some minutes, several GB)."
	@$(BIN)/python -m uv pip install -q -r requirements.txt
	@$(BIN)/python -m uv pip install -q --no-deps -e .
	@$(BIN)/jupyter trust notebooks/*.ipynb >/dev/null  # ours: their saved widgets may be shown
	@$(BIN)/faqlab prepare --encoders
	@touch $(READY)
