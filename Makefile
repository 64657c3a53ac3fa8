# `make lab` sets everything up and opens JupyterLab; `make test` sets everything up and runs all checks.
# You need make, git and Python with venv; everything else is installed from packages.

SHELL := /bin/bash
PYTHON ?= python3
VENV := $(CURDIR)/.venv/bin
# `make build` builds for the active conda or virtual environment if faqlab is installed in it, else for .venv.
ACTIVE := $(firstword $(wildcard $(VIRTUAL_ENV)/bin/faqlab $(CONDA_PREFIX)/bin/faqlab))
BIN := $(or $(ACTIVE:/faqlab=),$(VENV))
export UV_LINK_MODE ?= copy

.PHONY: lab test setup build models livekit-server notebooks requirements clean

lab: setup
	@echo "JupyterLab prints its link below; press Ctrl-C twice to stop it."
	@"$(VENV)/python" -m jupyterlab --config=.jupyter/lab.py

test: setup
	@"$(VENV)/python" tests/run.py

setup: .venv/.ready
	@$(MAKE) --no-print-directory -j3 build BIN="$(VENV)"

# What is built once, side by side with `make -j build`.
build: models livekit-server faqlab/web/dist/index.html

models:
	@"$(BIN)/python" -m training.bge; "$(BIN)/python" -m training.serving_models

LIVEKIT_VERSION := $(shell sed -n 's/^VERSION = "\(.*\)"/\1/p' faqlab/voice/livekit_server.py)
livekit-server:
	@server="$${XDG_CACHE_HOME:-$$HOME/.cache}/faqlab/$@-$(LIVEKIT_VERSION)"; \
	if ! test -x "$$server"; then \
		echo "Building livekit-server $(LIVEKIT_VERSION), once per user: takes 2 to 4 minutes and 2 GB of disk."; \
		mkdir -p "$${server%/*}" && build=$$(mktemp -d "$$server.XXXXXX") && trap 'rm -rf "$$build"' EXIT && \
		export GOPATH="$$build/path" GOCACHE="$$build/cache" GOBIN="$$build" GOTOOLCHAIN=local CGO_ENABLED=0 && \
		{ "$(BIN)/go" install -trimpath -modcacherw -buildvcs=false -ldflags="-s -w" \
			github.com/livekit/livekit-server/cmd/server@v$(LIVEKIT_VERSION) 2>"$$build/log" || \
			{ tail -8 "$$build/log"; echo "livekit-server couldn't be built; check the network (HTTPS_PROXY, GOPROXY) and the free disk space."; exit 1; }; } && \
		mv "$$build/server" "$$server"; \
	fi

WEB := faqlab/web
NPM := cd $(WEB) && PATH="$(BIN):$$PATH" npm
$(WEB)/dist/index.html: $(WEB)/node_modules/.package-lock.json $(wildcard $(addprefix $(WEB)/,*.html *.ts src/* src/*/*))
	@echo "Building the page."
	@$(NPM) run --silent build -- --logLevel=warn

$(WEB)/node_modules/.package-lock.json: $(WEB)/package.json $(WEB)/package-lock.json
	@$(NPM) ci --ignore-scripts --loglevel=error && touch node_modules/.package-lock.json

# Runs every notebook in order and saves its outputs in it.
notebooks: setup
	@for notebook in notebooks/0*.ipynb; do \
		"$(VENV)/python" -m pytest -q --nbmake --nbmake-timeout=600 --timeout=900 --overwrite $$notebook || exit 1; \
		"$(VENV)/python" notebooks/tidy.py $$notebook; \
	done

# Pins versions that pyproject.toml allows, by the hashes of their files: `make requirements UPGRADE=` pins only what is
# new. requirements.txt holds no download addresses.
UPGRADE = --upgrade
requirements: setup
	@"$(VENV)/python" -m uv pip compile -q --universal pyproject.toml --extra dev $(UPGRADE) \
		--generate-hashes --no-header --no-annotate --no-emit-index-url -o requirements.txt

clean:
	rm -rf .venv $(WEB)/node_modules $(WEB)/dist .pytest_cache .mypy_cache .ruff_cache

.venv/.ready: requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "faqlab needs Python 3.11, 3.12 or 3.13; install it, or run make with PYTHON=/path/to/python3."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
		{ echo "faqlab needs Python 3.11, 3.12 or 3.13, and this is $$($(PYTHON) --version); run make with PYTHON=/path/to/python3.12."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "Python has no venv module; install it (Debian and Ubuntu: apt install python3-venv)."; exit 1; }
	@test -x "$(VENV)/python" || $(PYTHON) -m venv .venv
	@"$(VENV)/python" -m uv --version >/dev/null 2>&1 || "$(VENV)/python" -m pip install -q --disable-pip-version-check \
		--require-hashes -r <(sed -n '/^uv==/,/[^\\]$$/p' requirements.txt)
	@echo "Installing the pinned packages, once: takes up to a few minutes and several GB."
	@"$(VENV)/python" -m uv pip install -q --require-hashes -r requirements.txt
	@"$(VENV)/python" -m uv pip install -q --no-deps --no-build-isolation -e .
	@"$(VENV)/jupyter" trust notebooks/*.ipynb >/dev/null  # so that their saved widgets are shown
	@touch $@
