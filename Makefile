# What a fresh clone can do. Every target installs what it needs and the host lacks, and says so;
# `scripts/install-requirements` has the list.

export PATH := $(HOME)/.cargo/bin:$(PATH)
CARGO ?= cargo
CARGO_TARGET_DIR ?= target
MVMCTL := $(CARGO_TARGET_DIR)/release/mvmctl
REQUIRE := scripts/install-requirements

.PHONY: help demo setup test bench check clean

help:
	@echo 'make demo    run Python in a microVM'
	@echo 'make setup   build mvmctl and prepare its kernel and images'
	@echo 'make check   format, lints, repository rules'
	@echo 'make test    check, then all tests'
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

check:
	$(REQUIRE) build check
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) xtask check
	shellcheck $(REQUIRE) .ci/run

test: check
	$(REQUIRE) build run test
	$(CARGO) build -p mvmctl
	$(CARGO) test --workspace

bench: setup
	$(REQUIRE) bench
	$(CARGO) run --release -p mvm-bench -- --mvmctl $(MVMCTL)

clean:
	$(CARGO) clean
