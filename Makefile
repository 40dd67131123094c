# `make help` lists the targets. The scripts they call print what they do and how long it took.
SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS   += --no-print-directory
.DELETE_ON_ERROR:

# The same flags everywhere: a different set would compile every dependency again.
export GOFLAGS := -trimpath -buildvcs=false

GOLANGCI_LINT_VERSION := v2.15.0
OAPI_CODEGEN_VERSION  := v2.8.2
# The branch of gVisor that the go command can build. The module proxy may not serve a branch by name, so a version is named.
RUNSC_VERSION         := v0.0.0-20260905035102-160fafc42237
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
INIT    := internal/guest/initbin/remuda-init

.PHONY: help demo test attempts build bench soak lint fuzz test-vm test-fresh generate clean init runsc version

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | column -t -s "$$(printf '\t')" 2>/dev/null \
		|| sed -nE 's/^([a-z-]+):.*## (.*)/  make \1: \2/p' $(MAKEFILE_LIST)

demo: ## install what is missing, build, and show the main job on this machine
	@scripts/install.sh run demo
	@$(MAKE) build
	@scripts/demo.sh

test: ## install what is missing, build, lint, and run every test (as root: with real sandboxes)
	@scripts/test.sh

attempts: ## try to break every promise, in full, and write the table of docs/security.md
	@scripts/attempts.sh

build: init ## build bin/remuda
	@CGO_ENABLED=0 go build -ldflags '-s -w -X main.version=$(VERSION)' -o bin/remuda ./cmd/remuda

# The first process of a sandbox is embedded in remuda, so it is built first. Go's own cache decides whether there is work.
init:
	@CGO_ENABLED=0 go build -ldflags '-s -w' -o $(INIT) ./cmd/remuda-init

runsc: .bin/runsc-$(RUNSC_VERSION) ## build gVisor's runsc into bin/, for the isolation class gvisor (once; some minutes)
	@mkdir -p bin && ln -sfn ../.bin/runsc-$(RUNSC_VERSION) bin/runsc

bench: ## install the peers and print our figures beside theirs
	@scripts/install.sh run bench
	@$(MAKE) build
	@bin/remuda bench

soak: ## 100,000 executions with 20 runspaces open, then look for what stayed (COUNT=100000; nothing else may run)
	@scripts/install.sh run test
	@$(MAKE) build
	@PROGRAM_UNDER_TEST=$(CURDIR)/bin/remuda SOAK_COUNT=$(or $(COUNT),100000) go test -count=1 -v -timeout 170m -run '^TestNothingStays$$' ./test/soak

lint: init .bin/golangci-lint-$(GOLANGCI_LINT_VERSION) ## check formatting, generated code, scripts and the rules of .golangci.yaml
	@scripts/lint.sh

fuzz: init ## run every fuzz target for a short while (FUZZTIME=10s)
	@scripts/fuzz.sh

test-vm: ## boot a machine with cgroup v2 and run the engine's tests and a smoke run in it
	@scripts/install.sh run test vm
	@$(MAKE) build
	@go test -tags vm -count=1 -v -timeout 60m -run '^TestMachine$$' ./test/vm

test-fresh: ## run `make demo` in a fresh minimal Debian 12 (TARGET=test for `make test`)
	@scripts/install.sh fresh
	@test/fresh/run.sh $(or $(TARGET),demo)

generate: .bin/oapi-codegen-$(OAPI_CODEGEN_VERSION) init ## generate code from api/openapi.yaml
	@go generate ./...

clean: ## remove what was built; .cache (the machine's image) stays
	@rm -rf bin $(INIT)

version:
	@echo $(VERSION)

# Tools, each with its version in its name, so that a new version is a new file. The name without a version is a link for
# go:generate lines and editors.
.bin/golangci-lint-$(GOLANGCI_LINT_VERSION):
	@scripts/tool.sh golangci-lint $(GOLANGCI_LINT_VERSION) github.com/golangci/golangci-lint/v2/cmd/golangci-lint

.bin/runsc-$(RUNSC_VERSION):
	@scripts/tool.sh runsc $(RUNSC_VERSION) gvisor.dev/gvisor/runsc '-X gvisor.dev/gvisor/runsc/version.version=$(RUNSC_VERSION)'

.bin/oapi-codegen-$(OAPI_CODEGEN_VERSION):
	@scripts/tool.sh oapi-codegen $(OAPI_CODEGEN_VERSION) github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen
