# Everything happens in a virtual environment inside the checkout; nothing else on the machine is changed.
VENV := .venv
BIN := $(VENV)/bin
LAB := .lab
READY := $(VENV)/.ready
TOOLS := $(VENV)/tools
MUTANTS := $(VENV)/mutants
QUIETLY := --quiet --disable-pip-version-check
PIP := $(BIN)/python -m pip install $(QUIETLY)
# For Python 3.11 and newer on x86_64 and aarch64, with the hashes of every file of a release. What is in a lock file
# stays at its version unless UPGRADE says otherwise; no file says where the packages come from.
LOCK := UV_CUSTOM_COMPILE_COMMAND='make lock' $(TOOLS)/bin/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-strip-extras $(UPGRADE)
PYTEST := $(BIN)/pytest -W error
# More than twice as many as there are cores: a test of a lab works for two fifths of its time, and waits for the rest.
WORKERS := --numprocesses $(shell expr 2 '*' $$(nproc) + 1) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: all bench check crash demo docs docs-check etcd faults format fuzz help lab-down lint lock mutants package prove
.PHONY: prove-main revision sbom test types

all: format-check lint types docs-check test package ## what CI runs

# Everything comes by its hash from the lock files; then the project itself, which is built with what is installed.
$(READY): pyproject.toml requirements/dev.txt
	test -x $(BIN)/python || python3 -m venv $(VENV)
	$(PIP) --require-hashes --requirement requirements/dev.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $(READY)

$(TOOLS)/.ready: requirements/tools.txt
	test -x $(TOOLS)/bin/python || python3 -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install $(QUIETLY) --require-hashes --requirement requirements/tools.txt
	touch $(TOOLS)/.ready

$(MUTANTS)/.ready: requirements/dev.txt requirements/mutants.txt
	test -x $(MUTANTS)/bin/python || python3 -m venv $(MUTANTS)
	$(MUTANTS)/bin/python -m pip install $(QUIETLY) --require-hashes --requirement requirements/dev.txt --requirement requirements/mutants.txt
	touch $(MUTANTS)/.ready

bench: $(READY) ## measure what is promised in numbers, and print the tables
	for script in tests/bench/*_bench.py; do $(BIN)/python $$script || exit 1; done

check: $(READY) format-check lint types ## before each commit, in a minute: format, lint, types, unit tests of what changed
	$(PYTEST) $(WORKERS) $$($(BIN)/python tests/changed.py)

crash: $(READY) ## the whole crash matrix, for hours; CRASH='--every 10' tries a tenth of it
	PYTHONPATH=tests $(BIN)/python -m crash.matrix $(CRASH)

faults: $(READY) ## the fault matrix, for many hours; FAULTS='--every 50' tries a part of it
	PYTHONPATH=tests $(BIN)/python -m crash.fault_matrix $(FAULTS)

demo: $(READY) ## an upgrade of a rehearsal cluster, from 1.27 to 1.28, here and now
	$(BIN)/upgrade-guard lab down --dir $(LAB)
	$(BIN)/upgrade-guard lab run v1.28.0 --dir $(LAB) --keep --yes
	@echo
	@echo 'Look at what happened:'
	@echo '  $(BIN)/upgrade-guard --config $(LAB)/config.toml history'
	@echo '  $(BIN)/upgrade-guard --config $(LAB)/config.toml show'
	@echo 'See an upgrade that fails and is rolled back by itself:'
	@echo '  $(BIN)/upgrade-guard lab run v1.28.0 --dir $(LAB)-rollback --fault apply-fails-after-etcd --keep --yes'
	@echo 'Remove the rehearsal clusters:'
	@echo '  make lab-down'

etcd: $(READY) ## build a newer etcd for the lab than the package has, and print where it is (Go)
	$(BIN)/python tests/newer_etcd.py

fuzz: $(READY) ## EXAMPLES=2000: hostile input for everything that reads, other input each time
	FUZZ_EXAMPLES=$(or $(EXAMPLES),2000) $(PYTEST) tests/unit/hostile --timeout 0

lab-down: $(READY) ## remove the rehearsal clusters of demo
	$(BIN)/upgrade-guard lab down --dir $(LAB)
	$(BIN)/upgrade-guard lab down --dir $(LAB)-rollback

docs: $(READY) ## write the generated references anew
	$(BIN)/python docs/generate.py

docs-check: $(READY) ## fail when a generated reference is stale
	$(BIN)/python docs/generate.py --check

format: $(READY) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only --exit-zero .

format-check: $(READY)
	$(BIN)/ruff format --check .

lint: $(READY) ## lint the code
	$(BIN)/ruff check .

types: $(READY) ## check types, and that what the tests name is there
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini

test: $(READY) ## every test
	$(PYTEST) $(WORKERS)

# The development set decides; what is installed elsewhere is a part of it.
lock: $(TOOLS)/.ready ## write the lock files anew; UPGRADE=--upgrade or UPGRADE='--upgrade-package NAME' takes newer ones
	$(LOCK) requirements/tools.in --output-file requirements/tools.txt
	$(LOCK) pyproject.toml --extra dev --no-emit-package upgrade-guard --output-file requirements/dev.txt
	$(LOCK) requirements/mutants.in --constraint requirements/dev.txt --output-file requirements/mutants.txt
	$(LOCK) pyproject.toml --constraint requirements/dev.txt --output-file requirements/runtime.txt
	$(LOCK) pyproject.toml --constraint requirements/dev.txt --extra lab --output-file requirements/lab.txt

sbom: $(READY) $(TOOLS)/.ready ## write dist/upgrade-guard.cdx.json: what an installation consists of (CycloneDX)
	$(BIN)/python tests/sbom.py dist/upgrade-guard.cdx.json

mutants: $(READY) $(MUTANTS)/.ready ## MODULES='engine/gate.py vault/retention.py': break each line, see which no test notices (hours for all)
	$(BIN)/python tests/mutants.py $(MODULES)

package: $(READY) $(TOOLS)/.ready ## build the wheel and use it without development dependencies
	$(BIN)/python tests/package_check.py

prove: $(READY) ## real kubeadm clusters on this machine: every scenario, about an hour and a half (root, Go, apt)
	$(PYTEST) tests/proving --timeout 7200

prove-main: $(READY) ## the same, but only an upgrade of three control planes that fails on the second, and two that complete
	$(PYTEST) tests/proving --timeout 7200 -m main_path

revision: $(READY) ## MESSAGE="what changed": write a migration from the models
	$(BIN)/python -m upgrade_guard.migrations "$(MESSAGE)"

help: ## this text
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | sort | awk -F'\t' '{ printf "  make %-12s %s\n", $$1, $$2 }'
