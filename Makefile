# Two commands on a fresh machine: `make run` and `make test`. Everything lives in .venv and .demo.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := .demo
SHARED := ../shared

.PHONY: run test setup lint faults ui bench accuracy venues scale audit lock dictionary gazetteer clean

run: setup
	rm -rf $(DEMO)
	$(BIN)/collab sample $(DEMO)/snapshot --works 3000 --days 8
	COLLAB_HOME=$(DEMO)/home $(BIN)/collab run --source openalex-snapshot --snapshot $(DEMO)/snapshot --each-night
	COLLAB_HOME=$(DEMO)/home $(BIN)/collab verify
	COLLAB_HOME=$(DEMO)/home $(BIN)/collab report

test: setup lint
	$(BIN)/pytest --numprocesses 2 --dist worksteal

# Slow suite, hours: everything that can break, on DuckDB and PostgreSQL, and a table of what was survived at its end.
# COLLAB_TEST_KILLS=20 shortens the killed runs (200), COLLAB_TEST_SEED moves their moments.
faults: setup
	$(BIN)/pytest -m slow

# Three nights on a Prefect server of its own, looked at in headless Chromium; pictures in .demo/pictures. Some minutes.
ui: setup
	COLLAB_TEST_PICTURES=$(DEMO)/pictures $(BIN)/pytest -m ui tests/ui

bench: setup .bench/dlt/.ready
	$(BIN)/python tests/bench/throughput.py
	$(BIN)/python tests/bench/throughput.py --real
	$(BIN)/python tests/bench/workers.py
	$(BIN)/python tests/bench/refresh.py
	$(BIN)/python tests/bench/rebuild.py
	$(BIN)/python tests/bench/postgresql.py

# How right the countries are, on the truth sets in ../shared/data; half a minute.
accuracy: setup
	$(BIN)/python tests/bench/accuracy.py

# Countries of conference papers beside those of the list in ../shared/data/venues; two minutes.
venues: setup
	$(BIN)/python -m tests.bench.venues

# What grows with the number of stored works: up to three million on DuckDB, one million on PostgreSQL; about an hour.
scale: setup
	$(BIN)/python tests/bench/scale.py --engine duckdb
	$(BIN)/python tests/bench/scale.py --engine postgresql

# Known vulnerabilities of everything in the lock; asks a service on the internet, so no part of `make test`. Strict: a
# package that the service does not answer for makes it red, as it would if nothing could be asked at all.
audit: setup .bench/audit/.ready
	$(BIN)/ruff check --select S
	.bench/audit/bin/pip-audit --strict --disable-pip --progress-spinner off --requirement requirements.lock || { \
	echo "audit: red. If no vulnerability is named above, the service could not be asked and nothing is proved: run it where it can be reached." >&2; exit 1; }

.bench/audit/.ready:
	$(PYTHON) -m venv .bench/audit
	.bench/audit/bin/python -m pip install --quiet "pip-audit>=2.10,<3"
	touch $@

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# dlt lives apart: it must not change the versions that the project runs with.
.bench/dlt/.ready:
	$(PYTHON) -m venv .bench/dlt
	.bench/dlt/bin/python -m pip install --quiet "dlt[duckdb]>=1.31" "duckdb==1.5.6"
	touch $@

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# The lock is complete, so nothing is resolved when it is installed. It names no address: pip takes the files from
# wherever the machine is set up to look.
lock:
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dask --extra dev --extra s3 --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --output-file requirements.lock

dictionary: setup
	$(BIN)/collab dictionary --write schemas/DICTIONARY.md

# Names of countries and cities from CLDR and GeoNames; look at the difference before it is committed.
gazetteer: setup
	$(BIN)/python -m tests.reference.gazetteer

clean:
	rm -rf $(VENV) $(DEMO) .bench .pytest_cache .mypy_cache .ruff_cache .hypothesis
