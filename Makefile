# Every target sets itself up in .venv; all that is needed is Python 3.11 or newer, pip and make.
PYTHON ?= python3
BIN := .venv/bin
# Not in constraints.txt, whose hashes would forbid a build for CPUs from another place.
TORCH := torch==2.13.0
# What `make mutate` draws: `make mutate SAMPLE=300 SEED=7`.
SAMPLE ?= 150
SEED ?= 0
# How long `make fuzz` runs each harness: `make fuzz SECONDS=600`.
SECONDS ?= 60

.PHONY: demo test check sanitize fuzz mutate wheels bench bench-full bench-guard constraints clean

demo: .venv/ready ## Judge real messages and show why each excluded one is
	$(BIN)/consentgate demo --overwrite

test: .venv/ready ## Run the tests, in one process per core
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

check: .venv/ready ## Lint, formatting and strict types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

sanitize: .venv/ready ## Run tests with a kernel that checks every access to memory (needs gcc or clang)
	$(BIN)/python -m tests.kernel.sanitize

fuzz: .venv/ready ## Feed the kernel with random data, a minute for each harness (needs clang)
	$(BIN)/python -m tests.kernel.fuzzing --seconds $(SECONDS)

wheels: .venv/ready ## Build the wheels of all platforms into dist/, and look into each
	rm -rf dist
	$(BIN)/python -m tests.kernel.wheels dist
	CONSENTGATE_WHEELS=$(CURDIR)/dist $(BIN)/python -m pytest tests/kernel/test_wheels.py

mutate: .venv/ready ## See that tests fail for small faults in the judging path, in half an hour
	$(BIN)/python -m tests.mutation --sample $(SAMPLE) --seed $(SEED)

bench: .venv/ready ## Time the gate against what one would write instead, in about six minutes
	$(BIN)/python -m benchmarks

bench-full: .venv/ready ## The same at 20 M messages and 10 M subjects; rewrites benchmarks/README.md
	$(BIN)/python -m benchmarks --size full

bench-guard: .venv/ready ## Fail if the gate no longer beats the fastest engine
	$(BIN)/python -m benchmarks guard

constraints: ## Pin anew what CI installs (needs uv)
	uv pip compile pyproject.toml --group dev --all-extras --universal --python-version 3.11 \
	  --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
	  --no-emit-package torch --upgrade --quiet --output-file constraints.txt

# Python compiles what is imported, which is far less than what is installed: half the time.
.venv/ready: constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "consentgate needs Python 3.11 or newer; say make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --no-compile --quiet --no-deps --require-hashes --requirement constraints.txt
	$(BIN)/python -m pip install --no-compile --quiet $(TORCH)
	$(BIN)/python -m pip install --no-compile --quiet --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf .venv build dist demo-output src/consentgate/kernel/kernel-*
