# make demo: the main job on an embedded default.  make test: the checks and the tests.  make bench: what it costs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
BENCH_STAMP := $(VENV)/.stamp-bench
SOAK ?= 1h
ROUNDS ?= 5

.PHONY: venv demo test check soak bench clean

venv: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { v=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'); echo "$(PYTHON) has no venv or ensurepip. On Debian and Ubuntu: apt-get install python$$v-venv (or python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: venv
	$(BIN)/telemetry-agent demo

check: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
	$(BIN)/pytest -m "not soak"

soak: venv
	SOAK=$(SOAK) $(BIN)/pytest -m soak -n 0 --timeout 0

# BENCH="w1 w2" measures these alone; python -m benchmarks --list says what there is.
bench: $(BENCH_STAMP)
	$(BIN)/python -m benchmarks --rounds $(ROUNDS) $(BENCH)

$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

clean:
	rm -rf $(VENV)
