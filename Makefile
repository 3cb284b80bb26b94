# All tasks for developers; `make help` lists them.

.DEFAULT_GOAL := help

PYTHON := .venv/bin/python
STAMP := .venv/.installed

# Test processes, each with its own Spark. The tests of a file run in the same process; files that
# run whole jobs, which take longest, start first.
WORKERS ?= 2

# The benchmark kit: query maker, scorer, noises and rooms.
BENCH ?= ../shared/bench
# Folder of feature tables such as Spotify's.
DATA ?= ../shared/data
# Folder for the tables of the growth benchmark, about 20 GB while they are being built.
WORK ?= build/growth

# Each is run to see if it works: a version manager's shim may be on PATH without a Python behind it.
CANDIDATES := python3.12 python3.13 python3.11 python3.14 python3.10 python3 python
PROBE := import sys; \
	(3, 10) <= sys.version_info[:2] <= (3, 14) or sys.exit("is " + sys.version.split()[0]); \
	import venv, ensurepip
MINOR := import sys; print("%d.%d" % sys.version_info[:2])
CHECK_JAVA := import sys; sys.tracebacklimit = 0; \
	from sonic_lib.spark.java import check_java; check_java()
ZIP := import pathlib, zipfile; \
	SUFFIXES = (".py", ".sql", ".html", ".css", ".js"); \
	library = sorted(p for p in pathlib.Path("sonic_lib").rglob("*") if p.suffix in SUFFIXES); \
	archive = zipfile.ZipFile("dist/sonic_lib.zip", "w", zipfile.ZIP_DEFLATED); \
	[archive.write(path) for path in library]

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: env
env: $(STAMP) ## Make .venv with everything installed

$(STAMP): setup.py
	@python=; found=; for name in $(CANDIDATES); do \
		command -v "$$name" >/dev/null 2>&1 || continue; \
		if said=$$("$$name" -c '$(PROBE)' 2>&1); then python=$$name; break; fi; \
		found="$$found$${found:+; }$$name: $$(printf '%s\n' "$$said" | tail -n 1)"; \
	done; \
	if [ -z "$$python" ]; then \
		echo "error: wanted Python 3.10 to 3.14 with the modules venv and ensurepip; found" \
			"$${found:-none} (tried $(CANDIDATES)). Install one (Debian and Ubuntu: the packages" \
			"python3 and python3-venv), see that it is on PATH, and run make again." >&2; \
		exit 1; \
	fi; \
	"$$python" -c '$(CHECK_JAVA)' || exit 1; \
	echo "installing into .venv with $$("$$python" --version) (some minutes at first) ..."; \
	$(PYTHON) -c '$(PROBE)' 2>/dev/null || "$$python" -m venv --clear .venv
	@# The versions that the tests ran with, if they are known for this Python.
	@known=tests/constraints/newest-$$($(PYTHON) -c '$(MINOR)').txt; \
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --editable '.[dev]' \
		$$(test -f $$known && echo --constraint $$known)
	@touch $@

.PHONY: jars
jars: env ## Fetch Delta's jars into the user's cache folder
	@$(PYTHON) -m sonic_lib.spark.jars >/dev/null

# For the tests of the report, which are skipped without it.
.PHONY: browser
browser: ## Install Chromium if possible: as root, with apt
	@for name in chromium chromium-browser google-chrome; do \
		if command -v $$name >/dev/null 2>&1; then exit 0; fi; \
	done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		echo "installing Chromium ..."; \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core; \
		} >/dev/null 2>&1 || echo "Chromium could not be installed"; \
	fi

PYTEST := $(PYTHON) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=30

.PHONY: test
test: jars ## Run the standard tests
	$(PYTEST) -m 'not long'

.PHONY: test-long
test-long: jars browser ## Run the long tests: killed jobs, full disks, clusters, S3, notebooks (TESTS=files)
	$(PYTEST) -m long $(TESTS)

.PHONY: test-all
test-all: test test-long ## Run all tests

# By default, the unit tests that show whether other versions of the packages work.
PYTHONS_TESTS ?= $(addprefix tests/unit/test_,decode.py damaged_files.py install.py comfort.py \
	tags.py feature_table.py cli.py config.py output.py local_tables.py hashes.py extract.py)

.PHONY: test-pythons
test-pythons: env ## Run unit tests on each installed Python (PYTHONS_TESTS=tests/unit for all, SETS=newest-3.13)
	@SETS="$(SETS)" tests/pythons.sh $(PYTHONS_TESTS)

.PHONY: test-unit
test-unit: env ## Run the tests that need no Java
	$(PYTHON) -m pytest tests/unit

# In a separate environment, as Airflow's requirements conflict with ours.
.PHONY: test-deploy
test-deploy: env ## Check conf/deploy with the tools it is for
	@$(PYTHON) -m venv build/deploy
	@build/deploy/bin/python -m pip install --quiet --disable-pip-version-check -r tests/deploy/requirements.txt
	build/deploy/bin/python -m pytest --noconftest -p no:cacheprovider tests/deploy/check_schemas.py

.PHONY: docs
docs: env ## Build the pages of docs/ into build/docs; warnings are errors
	$(PYTHON) -m sphinx -q -W --keep-going -b html docs build/docs
	@echo build/docs/index.html

.PHONY: test-faults
test-faults: jars ## Run the tests of bad input and faults (LONG=1 for all of them)
	SONIC_LONG_TESTS=$(LONG) $(PYTHON) -m pytest -v tests/faults tests/e2e/test_kill.py \
		tests/e2e/test_disk_full.py tests/e2e/test_clock.py tests/e2e/test_rounds.py

.PHONY: lint
lint: env ## Check style, formatting and types
	$(PYTHON) -m mypy
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

.PHONY: format
format: env ## Format the code, and apply ruff's fixes
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

.PHONY: demo
demo: jars ## Run the tour: synthesise songs and clips, index, identify, plot
	.venv/bin/sonic demo

.PHONY: zip
zip: env ## Pack the library for spark-submit --py-files
	@mkdir -p dist
	@$(PYTHON) -c '$(ZIP)'
	@echo dist/sonic_lib.zip

.PHONY: package
package: zip ## Build the wheel, and the zip for spark-submit --py-files
	@$(PYTHON) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	@ls dist/*.whl

.PHONY: bench-identify
bench-identify: jars ## Measure identification (SONGS=folder, BENCH=folder of the query maker)
	@if [ -d "$(SONGS)" ]; then \
		$(PYTHON) benchmarks/identify.py --songs "$(SONGS)" --bench "$(BENCH)"; \
	else echo "skipped: SONGS='$(SONGS)' names no folder of songs"; fi

.PHONY: bench-index
bench-index: jars ## Measure the speed of indexing (SONGS=folder)
	@if [ -d "$(SONGS)" ]; then $(PYTHON) benchmarks/index_speed.py --songs "$(SONGS)"; \
	else echo "skipped: SONGS='$(SONGS)' names no folder of songs"; fi

.PHONY: bench-segments
bench-segments: jars ## Measure how songs in long recordings are found (SONGS=, BENCH=)
	@if [ -d "$(SONGS)" ]; then \
		$(PYTHON) benchmarks/segments.py --songs "$(SONGS)" --bench "$(BENCH)"; \
	else echo "skipped: SONGS='$(SONGS)' names no folder of songs"; fi

.PHONY: bench-calibration
bench-calibration: jars ## Measure how often unknown songs are accepted (SONGS=, BENCH=)
	@if [ -d "$(SONGS)" ]; then \
		$(PYTHON) benchmarks/calibration.py --songs "$(SONGS)" --bench "$(BENCH)" --larger; \
	else echo "skipped: SONGS='$(SONGS)' names no folder of songs"; fi

.PHONY: bench-growth
bench-growth: jars ## Measure identification in indexes up to 300 million rows (SONGS=, BENCH=; WORK=)
	@if [ -d "$(SONGS)" ]; then \
		$(PYTHON) benchmarks/growth.py --songs "$(SONGS)" --bench "$(BENCH)" --work "$(WORK)"; \
	else echo "skipped: SONGS='$(SONGS)' names no folder of songs"; fi

.PHONY: bench-duplicates
bench-duplicates: jars ## Measure how duplicate songs are found (SONGS=, BENCH=)
	@if [ -d "$(SONGS)" ]; then \
		$(PYTHON) benchmarks/duplicates.py --songs "$(SONGS)" --bench "$(BENCH)"; \
	else echo "skipped: SONGS='$(SONGS)' names no folder of songs"; fi

.PHONY: bench-models
bench-models: jars ## Measure genre, popularity, conformal prediction and what training costs (DATA=folder of CSV files)
	@if [ -d "$(DATA)" ]; then $(PYTHON) benchmarks/models.py --data "$(DATA)" && \
	$(PYTHON) benchmarks/models_cost.py --data "$(DATA)"; \
	else echo "skipped: DATA='$(DATA)' names no folder of feature tables"; fi

.PHONY: bench-recommendations
bench-recommendations: jars ## Compare recommendations with scikit-learn (DATA=folder of CSV files)
	@if [ -d "$(DATA)" ]; then $(PYTHON) benchmarks/recommendations.py --data "$(DATA)"; \
	else echo "skipped: DATA='$(DATA)' names no folder of feature tables"; fi

.PHONY: bench-features
bench-features: jars ## Measure the speed of feature extraction (SONGS=folder)
	@if [ -d "$(SONGS)" ]; then \
		OMP_NUM_THREADS=1 $(PYTHON) benchmarks/features.py --songs "$(SONGS)"; \
	else echo "skipped: SONGS='$(SONGS)' names no folder of songs"; fi

.PHONY: bench-one-clip
bench-one-clip: jars ## Measure how long one clip takes on a small index, without Spark
	$(PYTHON) benchmarks/one_clip.py

.PHONY: notebooks
notebooks: jars ## Run the notebooks and store their output
	cd notebooks && ../.venv/bin/jupytext --to ipynb Part*.py && \
		../.venv/bin/jupyter execute --inplace Part*.ipynb

.PHONY: report-pdf
report-pdf: env ## Typeset the technical report from benchmarks/results
	@$(PYTHON) docs/report/build.py --output dist/sonic-signature.pdf
	@echo dist/sonic-signature.pdf

.PHONY: clean
clean: ## Remove .venv and everything built
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
