# Every target sets up its own .venv from constraints.txt when it is missing or outdated.
# Nothing is needed but Python 3.11 with venv, and make.
PYTHON ?= python3
BIN := .venv/bin
# One BLAS thread: the problems are small, and two threads on two busy cores are slower.
export OPENBLAS_NUM_THREADS := 1
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export VECLIB_MAXIMUM_THREADS := 1

.PHONY: setup verify proofs test test-lowest test-newest test-python mutants soak kills audit figures docs lint bench bench-env lm-demo clean

setup: .venv/ready

.venv/ready: constraints.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		-e ".[sklearn,cluster,lm,trl,lab,browser,test,dev]"
	touch $@

verify: .venv/ready  ## all figures, the digits, the proofs where Coq is installed, all claims; report at build/report/index.html
	$(BIN)/python -m figures --out build/figures
	if command -v coqc >/dev/null; then $(BIN)/python -m paper_checks.prove; fi
	$(BIN)/python -m paper_checks --jobs 2 --report build/report --figures build/figures

proofs: .venv/ready  ## the theorems of paper_checks/proofs, compiled by Coq, with their axioms
	$(BIN)/python -m paper_checks.prove

test: .venv/ready  ## all tests, in two processes
	$(BIN)/python -m pytest -n 2 --dist worksteal

soak: .venv/ready  ## every property with SOAK_EXAMPLES examples (20,000); hours, and goes on
	HYPOTHESIS_PROFILE=soak $(BIN)/python -m pytest -n 2 --dist worksteal -m hypothesis $(ARGS)

kills: .venv/ready  ## commands killed at random moments, and what they left
	$(BIN)/python tests/kills.py --kills 60 --seed 0

# The core's own tests: what the oldest and newest libraries, and other interpreters, are tried with.
CORE := $(patsubst %,tests/test_%.py,adaptation architecture array_api attention auto \
	degenerate extremes given hypergradient inverse methods models outer plots problem \
	ratios rows secondorder selection selection_table tasks usefulness weights)

test-lowest test-newest: test-%: .venv-%/ready  ## the core with the lowest, the newest versions
	.venv-$*/bin/python -m pytest $(CORE)

.venv-%/ready: tests/constraints/%.txt pyproject.toml
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check -c $< torch
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check -c $< -e ".[test]"
	touch $@

test-python:  ## the core's tests that need no torch: make test-python PYTHON=python3.13
	$(PYTHON) -m venv --clear .venv-python
	.venv-python/bin/python -m pip install --quiet --disable-pip-version-check \
		-c tests/constraints/newest.txt numpy scipy matplotlib array-api-compat \
		threadpoolctl pytest hypothesis array-api-strict
	.venv-python/bin/python -m pip install --quiet --no-deps -e .
	.venv-python/bin/python -m pytest -p tests.no_torch $(CORE)

mutants: .venv/trust-ready  ## faults put into the core, one at a time: 80 minutes, and goes on
	$(BIN)/python tests/mutants.py $(ARGS)

audit: .venv/trust-ready  ## known vulnerabilities of the pinned versions, where PyPI's service answers
	$(BIN)/python tests/audit.py

.venv/trust-ready: .venv/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		-e ".[trust]"
	touch $@

figures: .venv/ready  ## build/figures
	$(BIN)/python -m figures --out build/figures

docs: .venv/docs-ready  ## build/docs/index.html; warnings are errors, links inside are checked
	rm -rf build/docs
	$(BIN)/python -m sphinx -W --keep-going -n -E -q -d build/doctrees docs build/docs
	$(BIN)/python docs/_ext/links.py build/docs

.venv/docs-ready: .venv/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		-e ".[docs]"
	touch $@

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/bandit --quiet -c pyproject.toml -r bdtheory figures paper_checks benchmarks examples

bench: .venv/ready  ## ratios in one run; see benchmarks/README.md
	$(BIN)/python -m benchmarks.hypergradient
	$(BIN)/python -m benchmarks.usefulness
	$(BIN)/python -m benchmarks.transformer
	$(BIN)/python -m benchmarks.refining
	$(BIN)/python -m benchmarks.bilevel
	$(BIN)/python -m benchmarks.generalisation
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m benchmarks.explorer

lm-demo: .venv/ready  ## selection of pairs with SmolLM2, three seeds; fetches the model (93 MB)
	$(BIN)/python -m benchmarks.lm_demo --model "$$($(BIN)/bdtheory fetch-model)"

bench-env: .bench-env/ready  ## other libraries, for benchmarks.bilevel, in an environment of theirs

# A library that does not install is no error: its rows say so. torch first: see the pins.
PEER_PIP := .bench-env/bin/python -m pip install --quiet --disable-pip-version-check \
	-c benchmarks/peers/requirements.txt

.bench-env/ready: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv .bench-env
	for peer in torch torchopt jaxopt optimistix "--no-deps betty-ml"; do \
		$(PEER_PIP) $$peer || echo "bench-env: $$peer does not install"; done
	touch $@

clean:
	rm -rf .venv .venv-* .bench-env build docs/gallery dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
