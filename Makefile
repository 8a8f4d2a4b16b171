# The few commands of this repository. Each sets up what it needs: the project's own environment in .venv, with the
# versions of constraints.txt. `make help` lists them.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# The first Python on the path that is new enough; choose another one with: make PYTHON=/path/to/python
CANDIDATES := python3 python3.11 python3.12 python3.13 python3.14 python
IS_NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in $(CANDIDATES); do "$$name" -c "$(IS_NEW_ENOUGH)" 2>/dev/null && echo "$$name" && break; done)

.DEFAULT_GOAL := help
.PHONY: help setup demo check test test-airflow coverage bench bench-wheel bench-features bench-serving bench-diagnosis bench-operator fuzz docs protocols lock clean

help: ## List these commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

setup: $(READY) ## Make the environment .venv, if it is not there or out of date

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none of '$(CANDIDATES)' is. Install one, or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c "import ensurepip, venv" 2>/dev/null || { echo "$(PYTHON) has no venv module. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@test -x $(BIN)/python && $(BIN)/python -c "$(IS_NEW_ENOUGH)" 2>/dev/null || "$(PYTHON)" -m venv --clear $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)

demo: $(READY) ## Nine months of production on real flights, in a few minutes
	$(BIN)/charkha demo

check: $(READY) ## Lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy examples/taxi/definition.py
	$(BIN)/mypy examples/credit/definition.py

test: check ## What CI runs: check, then all tests
	$(BIN)/pytest -n 3 --dist loadfile

test-airflow: $(READY) ## Have Airflow 3, installed in an environment of its own, retrain a model by the exported DAG
	$(BIN)/pytest -n 0 -m airflow tests/cli/test_airflow.py

coverage: $(READY) ## All tests, and which branches they take (97 % of them)
	$(BIN)/pytest -n 3 --dist loadfile --cov --cov-report=term

bench: bench-wheel bench-features bench-serving bench-diagnosis bench-operator ## All benchmarks

bench-wheel: $(READY) ## One pass of each joint of the wheel, with its cost per row
	$(BIN)/python benchmarks/wheel.py --all

bench-features: $(READY) ## Joins, windows, online reads and writes, beside Feast and the floors
	$(BIN)/python benchmarks/features.py

bench-serving: $(READY) ## Throughput, overload, swaps and kills of a server, beside other servers and the bare stack
	$(BIN)/python benchmarks/serving.py

bench-diagnosis: $(READY) ## Incidents in recorded weeks of four models: what is found, as what, how soon
	$(BIN)/python benchmarks/diagnosis.py

bench-operator: $(READY) ## Rollouts by the thousand, policies of retraining on three pasts, operators that are killed
	$(BIN)/python benchmarks/operating.py

fuzz: $(READY) ## Bad input by chance: on the raw socket, over gRPC and by the OpenAPI document, ten minutes each
	$(BIN)/python benchmarks/fuzz.py

docs: $(READY) ## Check the documentation: every link leads somewhere, every example runs
	$(BIN)/pytest tests/test_documentation.py tests/test_references.py tests/test_guides.py

PROTOCOLS := src/charkha/serving/protocols
protocols: $(READY) ## Compile inference.proto anew
	$(BIN)/python -m grpc_tools.protoc -I$(PROTOCOLS) --descriptor_set_out=$(PROTOCOLS)/inference.binpb --pyi_out=$(PROTOCOLS) inference.proto
	mv $(PROTOCOLS)/inference_pb2.pyi $(PROTOCOLS)/inference_messages.pyi

lock: $(READY) ## Choose the versions in constraints.txt anew
	$(BIN)/uv pip compile pyproject.toml --extra dev --output-file constraints.txt --no-header --no-annotate --universal --upgrade

clean: ## Remove the environment and everything that was made by running
	rm -rf $(VENV) build dist out .coverage .coverage.* htmlcov .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find examples -name .charkha -type d -prune -exec rm -rf {} +
