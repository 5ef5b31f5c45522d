# What a fresh clone can do. Every target installs what it needs and the host lacks, and says so;
# `scripts/install-requirements` has the list.

export PATH := $(HOME)/.cargo/bin:$(PATH)
CARGO ?= cargo
CARGO_TARGET_DIR ?= target
MVMCTL := $(CARGO_TARGET_DIR)/release/mvmctl
REQUIRE := scripts/install-requirements
TARGET := $(abspath $(CARGO_TARGET_DIR))
# What `install-requirements test` makes: the Python of the tests, and Node where the host's is old.
PYTHON := $(TARGET)/test-python/bin/python
export PATH := $(PATH):$(TARGET)/test-python/bin

# The SDKs' tests run the program that was just built, over the state directory that the tests of
# the runtime have prepared.
SDK_ENVIRONMENT := MVM_HOME=$(TARGET)/test-home MVM_MVMCTL=$(TARGET)/debug/mvmctl \
	MVM_CONFORMANCE_RESULTS=$(TARGET)/conformance.jsonl

.NOTPARALLEL:
.PHONY: help demo setup wheel soak test test-rust test-python test-typescript test-docs bench check \
	check-rust check-python check-typescript prepare-sdk-tests clean

help:
	@echo 'make demo    run Python in a microVM'
	@echo 'make setup   build mvmctl and prepare its kernel and images'
	@echo 'make check   format, lints, types, repository rules'
	@echo 'make test    check, then all tests (test-rust, test-python, test-typescript, test-docs: a part)'
	@echo 'make wheel   build the Python wheel that carries mvmctl'
	@echo 'make soak    500 short sandboxes from one program, 50 programs killed'
	@echo 'make bench   measure, beside runsc and QEMU alone (some 25 minutes)'
	@echo 'make clean   remove what was built'

demo: setup
	$(MVMCTL) run -- python3 -c 'print(6*7)'
	$(MVMCTL) run -- uname -a
	@echo 'from the command line to the exit of the first command, five times:'
	@for attempt in 1 2 3 4 5; do \
	    start=$$(date +%s%N); \
	    $(MVMCTL) run -- true || exit; \
	    end=$$(date +%s%N); \
	    echo "  $$(( (end - start) / 1000000 )) ms"; \
	done

setup:
	$(REQUIRE) build run
	$(CARGO) build --release -p mvmctl
	$(MVMCTL) setup

check: check-rust check-python check-typescript

check-rust:
	$(REQUIRE) build check
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) xtask check
	shellcheck $(REQUIRE) .ci/run

check-python:
	$(REQUIRE) test
	cd sdk/python && $(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check . && \
	    $(PYTHON) -m pyright --pythonpath $(PYTHON)
	cd tests && $(PYTHON) -m ruff check api docs && $(PYTHON) -m ruff format --check api docs && \
	    $(PYTHON) -m pyright --pythonpath $(PYTHON)
	cd tests && $(PYTHON) -m ruff check --config pyproject.toml ../examples && \
	    $(PYTHON) -m ruff format --check --config pyproject.toml ../examples
	cd guest/runner/python && $(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check .

check-typescript:
	$(REQUIRE) test
	cd sdk/typescript && npm ci --no-audit --no-fund && npm run check && npm run lint

test: check test-rust test-python test-typescript test-docs
	$(CARGO) xtask matrix --check $(TARGET)/conformance.jsonl

test-rust:
	$(REQUIRE) build run test
	$(CARGO) build -p mvmctl
	rm -f $(TARGET)/conformance.jsonl
	MVM_CONFORMANCE_RESULTS=$(TARGET)/conformance.jsonl $(CARGO) test --workspace

# What both SDKs' tests run with. A spare is kept while they do, as mvm does by default, and none
# afterwards.
prepare-sdk-tests:
	$(REQUIRE) build run test
	$(CARGO) build -p mvmctl
	$(SDK_ENVIRONMENT) $(TARGET)/debug/mvmctl setup --images node

test-python: prepare-sdk-tests
	$(SDK_ENVIRONMENT) $(TARGET)/debug/mvmctl pool set --size 1
	cd sdk/python && $(SDK_ENVIRONMENT) PYTHONPATH=src $(PYTHON) -m pytest
	cd tests && $(SDK_ENVIRONMENT) $(PYTHON) -m pytest api
	$(SDK_ENVIRONMENT) $(TARGET)/debug/mvmctl pool set --size 0

test-typescript: prepare-sdk-tests
	$(SDK_ENVIRONMENT) $(TARGET)/debug/mvmctl pool set --size 1
	cd sdk/typescript && { [ -d node_modules ] || npm ci --no-audit --no-fund; } && \
	    $(SDK_ENVIRONMENT) npm test
	$(SDK_ENVIRONMENT) $(TARGET)/debug/mvmctl pool set --size 0

# Every example of docs/sdk, as it stands there; those in Rust are compiled by test-rust.
test-docs: prepare-sdk-tests
	$(SDK_ENVIRONMENT) $(TARGET)/debug/mvmctl pool set --size 1
	cd sdk/typescript && { [ -d node_modules ] || npm ci --no-audit --no-fund; }
	cd tests && $(SDK_ENVIRONMENT) $(PYTHON) -m pytest docs
	$(SDK_ENVIRONMENT) $(TARGET)/debug/mvmctl pool set --size 0

wheel: setup
	$(REQUIRE) test
	cd sdk/python && MVM_MVMCTL_BINARY=$(abspath $(MVMCTL)) $(PYTHON) -c \
	    'import hatchling.build as b; print(b.build_wheel("$(TARGET)/wheel"))'
	@ls $(TARGET)/wheel

# Some minutes; not a part of `make test`.
soak: setup
	$(REQUIRE) test
	MVM_HOME=$${MVM_HOME:-$$HOME/.local/state/mvm} MVM_MVMCTL=$(abspath $(MVMCTL)) PYTHONPATH=sdk/python/src \
	    $(PYTHON) tests/soak/soak.py

bench: setup
	$(REQUIRE) bench
	$(CARGO) run --release -p mvm-bench -- --mvmctl $(MVMCTL)

clean:
	$(CARGO) clean
