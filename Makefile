# What people do here, as commands. `make` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# What is expensive to build is kept outside of the checkout, so that a fresh clone is warm: Kubernetes and Helm, and the
# crate's dependencies, for each compiler its own.
export WHIMBREL_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/whimbrel
export CARGO_TARGET_DIR ?= $(WHIMBREL_CACHE)/target-$(shell rustc --version 2>/dev/null | cut -d ' ' -f 2)

.PHONY: help
help: ## Lists the targets
	@echo "usage: make TARGET"
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "WHIMBREL_CACHE=$(WHIMBREL_CACHE)"
	@echo "CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)"

.PHONY: demo
demo: ## Shows a good migration and one that is rolled back, on real servers; KEEP=1 leaves all up
	@tests/setup/packages.sh build servers
	@tests/setup/kubernetes.sh
	@tests/setup/target.sh
	cargo build --locked --bins --examples
	@"$(CARGO_TARGET_DIR)/debug/examples/demo"

.PHONY: test
test: ## Runs all tests: unit, integration on real servers, and on a whole node where that is possible
	@tests/run.sh

.PHONY: e2e
e2e: ## Tries image, chart and samples on a whole Kubernetes node (root, Linux)
	@tests/setup/target.sh
	@tests/e2e.sh

.PHONY: test-majors
test-majors: ## Compares what is foreseen with what happens, and tries the derived ways back, on each major version of PostgreSQL
	@tests/truth.sh

.PHONY: truth
truth: ## Prints what each form of statement does and what was foreseen, and writes docs/locks.md
	@tests/truth.sh --write

.PHONY: crash
crash: ## Kills, freezes and disturbs the engine at every point of every workload; RUN= plays one run again, RUNS= and SEED= choose
	@tests/setup/packages.sh build servers
	@tests/setup/target.sh
	TMPDIR="$$(tests/setup/scratch.sh)" RUST_BACKTRACE=0 cargo test --locked --features crash-points --test crash -- matrix --runs "$(or $(RUNS),5000)" \
	  --workers "$(or $(WORKERS),6)" $(if $(SEED),--seed "$(SEED)") $(if $(RUN),--run "$(RUN)") $(if $(MUTANT),--mutant "$(MUTANT)")
	$(if $(RUN),,@$(MAKE) crash-cluster RUNS="$(or $(CLUSTER_RUNS),200)" WORKERS=4)

.PHONY: crash-cluster
crash-cluster: ## Lets the API server fail at every request of the operator; RUN= plays one run again, RUNS= and SEED= choose
	@tests/setup/packages.sh build servers
	@tests/setup/kubernetes.sh
	@tests/setup/target.sh
	TMPDIR="$$(tests/setup/scratch.sh)" RUST_BACKTRACE=0 cargo test --locked --features crash-points --test crash -- cluster \
	  --workers "$(or $(WORKERS),4)" $(if $(RUNS),--runs "$(RUNS)") $(if $(SEED),--seed "$(SEED)") $(if $(RUN),--run "$(RUN)")

.PHONY: mutants
mutants: ## Shows for each planted bug the run that catches it; ONLY= chooses
	@tests/setup/packages.sh build servers
	@tests/setup/target.sh
	TMPDIR="$$(tests/setup/scratch.sh)" RUST_BACKTRACE=0 cargo test --locked --features crash-points --test crash -- mutants --workers "$(or $(WORKERS),4)" \
	  $(if $(ONLY),--only "$(ONLY)")

.PHONY: fuzz
fuzz: ## Fuzzes what reads SQL; SECONDS= says for how long
	@tests/fuzz.sh "$(or $(SECONDS),60)"

.PHONY: check
check: ## Checks format, lints, documentation, generated files, licences
	@tests/setup/packages.sh build
	@tests/setup/target.sh
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --lib --test crash --features crash-points -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
	cargo test --locked --test it licences
	@mkdir -p "$(CARGO_TARGET_DIR)/crds"
	cargo run --locked --quiet --bin whimbrel -- crd --output-directory "$(CARGO_TARGET_DIR)/crds"
	diff -r crds "$(CARGO_TARGET_DIR)/crds"
	cargo run --locked --quiet --bin whimbrel -- plan --schema | diff docs/plan.schema.json -
	HELM="$$(tests/setup/helm.sh --path)" deploy/generate.sh --check

.PHONY: generate
generate: ## Writes crds/, what kustomize takes in deploy/, and docs/plan.schema.json from their sources
	@tests/setup/target.sh
	cargo run --locked --quiet --bin whimbrel -- crd --output-directory crds
	cargo run --locked --quiet --bin whimbrel -- plan --schema > docs/plan.schema.json
	HELM="$$(tests/setup/helm.sh --path)" deploy/generate.sh

.PHONY: bench
bench: ## Measures the operator on real servers: benches/README.md; NAME= names the raw results, PARTS= and ROUNDS= choose
	@tests/setup/packages.sh build servers
	@tests/setup/kubernetes.sh
	@tests/setup/target.sh
	@deploy/image/build.sh
	migrate=$$(tests/setup/migrate.sh --path || true); pgroll=$$(tests/setup/pgroll.sh --path || true); \
	cargo bench --locked --profile dev --bench numbers -- --results benches/results --name "$(or $(NAME),local)" \
	  $(if $(PARTS),--only "$(PARTS)") $(if $(ROUNDS),--rounds "$(ROUNDS)") --migrate "$$migrate" --pgroll "$$pgroll" \
	  --operator "$(CARGO_TARGET_DIR)/$(shell rustc -vV | sed -n 's/^host: //p')/release/whimbrel"

.PHONY: bench-estimate
bench-estimate: ## Measures what a copy says of the durations on the primary: benches/README.md
	@tests/setup/packages.sh build servers
	@tests/setup/target.sh
	cargo bench --locked --profile dev --bench estimate -- --results benches/results --name "$(or $(NAME),estimate)"

.PHONY: bench-backfill
bench-backfill: ## Measures ways to fill a column of a large table, with an application beside them: benches/README.md; ROWS=, ROUNDS=
	@tests/setup/packages.sh build servers
	@tests/setup/kubernetes.sh
	@tests/setup/target.sh
	@deploy/image/build.sh
	pgroll=$$(tests/setup/pgroll.sh --path || true); \
	cargo bench --locked --profile dev --bench backfill -- --results benches/results --name "$(or $(NAME),backfill)" \
	  --rows "$(or $(ROWS),2000000)" --rounds "$(or $(ROUNDS),3)" --pgroll "$$pgroll" \
	  --operator "$(CARGO_TARGET_DIR)/$(shell rustc -vV | sed -n 's/^host: //p')/release/whimbrel"

.PHONY: image
image: ## Builds the operator's image, as an archive, without a container engine
	@tests/setup/target.sh
	deploy/image/build.sh
