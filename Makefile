# make demo: the main job on an embedded default.  make test: the checks and the tests.
# make bench: what it costs.  make reliability, mutants, soak: what it loses, and whether the tests would see it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
BENCH_STAMP := $(VENV)/.stamp-bench
SOAK ?= 1h
ROUNDS ?= 5
# The tests start hundreds of agents: each would compile the sources anew where this is set.
export PYTHONDONTWRITEBYTECODE =

.PHONY: venv demo test check soak reliability mutants fuzz bench clean

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
	cd tests && ../$(BIN)/python -m faults.page --check

test: check
	$(BIN)/pytest -m "not soak"

soak: venv
	SOAK=$(SOAK) $(BIN)/pytest -m soak -n 0 --timeout 0

# The table of faults in full, docs/reliability.md; ROWS="kills far-503" plays these alone.
reliability: venv
	cd tests && PYTHONPATH=e2e ../$(BIN)/python -m faults $(ROWS); status=$$?; ../$(BIN)/python -m faults.page; exit $$status

# Every promise broken on purpose, and the test that sees it.
mutants: venv
	cd tests && ../$(BIN)/python -m mutants; status=$$?; ../$(BIN)/python -m faults.page; exit $$status

# Led by coverage: make fuzz TARGET=payloads FOR=600 (seconds).
TARGET ?= payloads
FOR ?= 60
fuzz: venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	cd tests && ../$(BIN)/python -m fuzz $(TARGET) --seconds $(FOR)

# BENCH="w1 w2" measures these alone; python -m benchmarks --list says what there is.
bench: $(BENCH_STAMP)
	$(BIN)/python -m benchmarks --rounds $(ROUNDS) $(BENCH)

$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

clean:
	rm -rf $(VENV)
