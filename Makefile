.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test test-torch test-trainers test-remote test-cluster lint format bench coverage lock clean

help: ## show this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# One environment; `demo` needs the core alone, everything else the tools of a developer as well.
# --no-deps: a lock names all that is needed, and where it pins `a[x]` and a package asks for `a`,
# pip would look for another `a`, without a hash.
.venv/core: requirements/core.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing the packages of requirements/core.txt into .venv, a minute or two"
	$(BIN)/python -m pip install --no-deps --require-hashes -r requirements/core.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/quorate compile
	touch $@

.venv/dev: requirements/dev.txt .venv/core
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/dev.txt
	touch $@

demo: .venv/core ## run the demo: three detectors, a quorum, and what it decided
	$(BIN)/quorate demo

test: .venv/dev ## run the tests
	$(BIN)/python -m pytest -n auto

# Torch and the CUDA libraries that it brings, some 5 GB, in an environment of their own, which has
# neither Argo's nor the remote servers' packages: other tests are not even collected in it.
.venv-torch/done: requirements/torch.txt pyproject.toml .venv/dev
	test -x .venv-torch/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python .venv-torch
	$(BIN)/uv pip install --quiet --python .venv-torch/bin/python --require-hashes \
	  -r requirements/torch.txt
	$(BIN)/uv pip install --quiet --python .venv-torch/bin/python --no-deps --no-build-isolation \
	  --editable .
	touch $@

test-torch: .venv-torch/done ## run the tests that need torch, on a GPU where there is one
	.venv-torch/bin/python -m pytest -m torch $$(grep -rl --include='test_*.py' 'mark\.torch' tests)

# TensorFlow's build for processors, some 1.6 GB, with nothing of ours beside it; where it is there,
# `make test` runs these tests too.
.venv-tensorflow/done: requirements/tensorflow.txt .venv/dev
	test -x .venv-tensorflow/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python .venv-tensorflow
	$(BIN)/uv pip install --quiet --python .venv-tensorflow/bin/python --require-hashes \
	  -r requirements/tensorflow.txt
	touch $@

# RF-DETR's library with torch, some 5 GB, of which .venv-torch has the most already.
.venv-rfdetr/done: requirements/rfdetr.txt .venv/dev
	test -x .venv-rfdetr/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python .venv-rfdetr
	$(BIN)/uv pip install --quiet --python .venv-rfdetr/bin/python --require-hashes \
	  -r requirements/rfdetr.txt
	touch $@

test-trainers: .venv-tensorflow/done .venv-rfdetr/done ## run the tests of the trainers of other libraries
	$(BIN)/python -m pytest tests/training/test_tensorflow_trainer.py tests/training/test_rfdetr_trainer.py

# KServe, MLServer and Triton, some 550 MB; where they are there, `make test` runs these tests too.
.venv-remote/done: requirements/servers.txt .venv/dev
	test -x .venv-remote/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python .venv-remote
	$(BIN)/uv pip install --quiet --python .venv-remote/bin/python --require-hashes \
	  -r requirements/servers.txt
	touch $@

test-remote: .venv-remote/done ## run the tests against real model servers, and with other clients
	$(BIN)/python -m pytest tests/detectors/test_remote_servers.py tests/serving/test_clients.py

test-cluster: .venv/dev ## run the tests that need a cluster, on that of KUBECONFIG, and those of S3
	$(BIN)/python -m pytest -m "cluster or s3"

lint: .venv/dev ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/dev ## put the code into its one style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

coverage: .venv/dev ## run the tests and say which lines they never reach
	$(BIN)/python -m pytest -n auto --cov --cov-report=term-missing:skip-covered

bench: .venv/dev ## measure speed as ratios and write docs/performance.md
	$(BIN)/python -m tests.benchmarks

# One recipe for all lock files: pinned and hashed, for every system and Python that the package
# takes, with the extras that locked packages ask of each other, and without addresses.
LOCKS := lock-dev lock-core lock-torch lock-cpu lock-cuda lock-servers lock-tensorflow lock-rfdetr
lock-dev: FROM = --group dev --extra argo --extra cvat --extra darknet --extra openvino \
  --extra remote --extra serve --extra traces --extra tracks pyproject.toml
lock-core: FROM = -c requirements/dev.txt --group build pyproject.toml
lock-torch: FROM = -c requirements/dev.txt --group test --group build --extra torch pyproject.toml
lock-cpu: FROM = -c requirements/dev.txt --group wheel --extra darknet --extra heif --extra remote \
  --extra serve --extra traces pyproject.toml
lock-cuda: FROM = -c requirements/dev.txt -c requirements/torch.txt \
  --override requirements/cuda-overrides.txt --group wheel --extra darknet --extra heif \
  --extra remote --extra serve --extra torch --extra traces pyproject.toml requirements/cuda.in
lock-servers: FROM = --group servers
lock-tensorflow: FROM = containers/tensorflow-trainer/requirements.in
lock-rfdetr: FROM = containers/rfdetr-trainer/requirements.in
lock-core lock-torch lock-cpu: lock-dev
lock-cuda: lock-torch

.PHONY: $(LOCKS)
$(LOCKS): lock-%: .venv/dev
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-strip-extras --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" $(UPGRADE) $(FROM) --output-file requirements/$*.txt

lock: $(LOCKS) ## bring the lock files up to date; UPGRADE=--upgrade renews every package

clean: ## remove what was built
	rm -rf .venv .venv-torch .venv-tensorflow .venv-rfdetr .venv-remote build dist out .pytest_cache .mypy_cache .ruff_cache .hypothesis
