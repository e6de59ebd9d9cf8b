# Everything here needs nothing but Python (3.11 or newer) and make: each target builds .venv and installs what it needs.

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements/runtime.txt
# mkdocs-material's notice about another program's future has no place in a build.
export NO_MKDOCS_2_WARNING := 1
export DISABLE_MKDOCS_2_WARNING := true

.PHONY: help demo test check bench soak docs format clean

help: ## Show what can be made
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 10

demo: $(VENV)/runtime ## Book seats: 200 registrants race for them (ARGS="race --json" for programs)
	@$(BIN)/python -m examples.conference $(ARGS)

test: $(VENV)/dev tools ## Run all tests, three at a time (ARGS="-k name" for some, "-n 0" for one at a time)
	@$(BIN)/python -m pytest -n 3 --dist worksteal $(ARGS)

soak: $(VENV)/dev tools ## Run the proofs with their full counts
	@SACHO_SOAK=1 $(BIN)/python -m pytest tests/proof tests/conformance $(ARGS)

check: $(VENV)/dev ## Format, lint, types, import rules, documentation
	@$(BIN)/ruff format --check --quiet . || { echo "run: make format"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/python -m pytest -q tests/test_house.py
	@$(BIN)/mkdocs build --quiet --strict --site-dir .site
	@echo "check: all is well"

bench: $(VENV)/bench ## Measure against peers and floors (ARGS="--json FILE")
	@$(BIN)/python -m benchmarks $(ARGS)

docs: $(VENV)/dev ## Serve the documentation, built anew at each change
	@$(BIN)/mkdocs serve

format: $(VENV)/dev ## Format the code and mend what can be mended
	@$(BIN)/ruff check --quiet --fix . || true
	@$(BIN)/ruff format --quiet .

clean: ## Remove what was built
	rm -rf $(VENV) .site .mypy_cache .ruff_cache .hypothesis

# The tests count syncs from outside the process by strace, and put PgBouncer before the server, where these may be had;
# otherwise they say that they skip. RUNLEVEL=1: no service is started by its installation.
.PHONY: tools
tools:
	@{ command -v strace && { command -v pgbouncer || test -x /usr/sbin/pgbouncer; }; } >/dev/null 2>&1 || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && \
		{ apt-get update -qq && RUNLEVEL=1 apt-get install -y -qq --no-install-recommends strace pgbouncer; } \
		>/dev/null 2>&1; } || true

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Sacho needs Python 3.11 or newer")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/runtime: pyproject.toml requirements/runtime.txt | $(BIN)/python
	@echo "installing what Sacho needs"
	@$(PIP) -e .
	@touch $@

$(VENV)/dev: $(VENV)/runtime requirements/dev.txt
	@echo "installing what its development needs"
	@$(PIP) -e '.[messages,nats,otel,postgres]' -r requirements/dev.txt
	@touch $@

$(VENV)/bench: $(VENV)/runtime requirements/bench.txt
	@echo "installing the peers"
	@$(PIP) -e '.[nats,postgres]' -r requirements/bench.txt
	@touch $@
