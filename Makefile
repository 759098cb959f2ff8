# FerroLB. `make demo` shows it, `make test` proves it; README.md says what each needs.

SERVICES ?= 5000
PEERS ?= 2
EDITS ?= 1000
VIPS ?= 10000
KILLS ?= 50
FRAMES ?= 1000000
SEED ?= 1
KEEP ?=
CARGO ?= cargo
export PATH := $(PATH):/usr/local/go/bin

.PHONY: help setup build check test test-lab test-install demo demo-down cluster cluster-down images bench-announce bench-arp bench-edits bench-install bench-takeover fuzz crds manifests golden fmt release

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: ## install the OS packages that the lab needs
	@sh e2e/setup.sh

build: ## controller, speaker, ferrolb and the lab
	$(CARGO) build --workspace --bins

check: ## everything that needs no root: format, lints, unit, golden and property tests
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) test --package ferrolb

test: setup ## everything, in order of power: check, then the lab, then the cluster
	@sh e2e/frr/build.sh > /dev/null
	@sh e2e/cluster/build.sh > /dev/null
	@sh e2e/cluster/metallb.sh > /dev/null
	@sh e2e/images/build.sh > /dev/null
	$(MAKE) --no-print-directory check
	$(CARGO) build --workspace --bins
	$(CARGO) test --package ferrolb-e2e --no-run
	$(CARGO) test --package ferrolb-e2e --no-fail-fast $(addprefix --test ,$(ALONE)) -- --test-threads=1
	@$(MAKE) --no-print-directory --jobs 2 --output-sync test-lab test-install

# The install tier waits for Kubernetes most of its time: the labs have the machine meanwhile.
INSTALL := install install_cleanup
# What these judge are milliseconds on a wire: they have the machine to themselves.
ALONE := conflict lab_members lab_takeover
TESTS := $(basename $(notdir $(wildcard e2e/tests/*.rs) $(patsubst %/main.rs,%,$(wildcard e2e/tests/*/main.rs))))

test-lab:
	$(CARGO) test --package ferrolb-e2e --no-fail-fast --lib --bins $(addprefix --test ,$(filter-out $(INSTALL) $(ALONE),$(TESTS)))

test-install:
	$(CARGO) test --package ferrolb-e2e --no-fail-fast $(addprefix --test ,$(INSTALL))

demo: setup build ## a load balancer at work on this machine, in namespaces; KEEP=1 leaves it up
	@target/debug/lab demo $(if $(KEEP),--keep)

demo-down: ## take down what `make demo KEEP=1` or a crash left up
	@target/debug/lab down

cluster: setup build ## a real Kubernetes of three nodes with FerroLB installed, in namespaces; Ctrl-C ends it
	@sh e2e/cluster/build.sh > /dev/null
	@sh e2e/images/build.sh > /dev/null
	@target/debug/lab cluster

cluster-down: demo-down ## take down what `make cluster` left up

images: setup ## controller, speaker and FRR images by buildah, with their sizes
	@FERROLB_COMMIT=$$(git describe --always --dirty --abbrev=40 --exclude '*') sh e2e/images/build.sh --sizes

release: ## optimised controller, speaker and ferrolb
	$(CARGO) build --release --workspace --bins

fuzz: ## FRAMES random and spoilt frames through the responder, judged by an oracle; SEED repeats a run
	FERROLB_FUZZ_FRAMES=$(FRAMES) FERROLB_FUZZ_SEED=$(SEED) $(CARGO) test --package ferrolb --test fuzz -- --nocapture

bench-announce: setup release ## Service written -> route at the ToR, beside FRR's floor
	@sh e2e/cluster/build.sh > /dev/null
	@FERROLB_BIN_DIR=target/release target/release/bench announce --services $(SERVICES) --peers $(PEERS)

bench-arp: setup release ## ARP answered for many addresses, beside the kernel's own; the cost of other traffic
	@FERROLB_BIN_DIR=target/release target/release/bench arp --vips $(VIPS)

bench-edits: setup build ## random edits against a real FRR: dropped sessions, stray withdrawals, the final state
	@target/debug/bench edits --edits $(EDITS)

bench-takeover: setup release ## dead nodes, healed partitions and planned hand-overs on a flat segment
	@FERROLB_BIN_DIR=target/release target/release/bench takeover --kills $(KILLS)

bench-install: setup build ## an installation's life on real nodes: first address, failed requests, memory
	@sh e2e/cluster/build.sh > /dev/null
	@sh e2e/images/build.sh --sizes
	@target/debug/bench install

crds: ## write manifests/crds from the types
	$(CARGO) run --quiet --bin ferrolb -- crds --dir manifests/crds

manifests: crds ## write manifests/ferrolb.yaml and ferrolb-l2.yaml from manifests/overlays
	@sh e2e/cluster/build.sh > /dev/null
	UPDATE_EXPECT=1 $(CARGO) test --quiet --package ferrolb-e2e --test manifests

golden: ## rewrite the golden files from what the code says now
	UPDATE_EXPECT=1 $(CARGO) test --package ferrolb

fmt: ## format
	$(CARGO) fmt --all
