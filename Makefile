# One target per task; .ci/run calls those that need nothing but a fresh machine.
FUZZTIME ?= 30s
COUNT    ?= 5
SEEDS    ?= 20
FIRST    ?= 0
NODES    ?= 1
FINISHED ?=
BUGS     ?= all
FLOOD    ?= 60s
STREAM   ?= 100000
IDLE     ?= 2000
TIMES    ?= 3
INPUTS   ?= ../shared/inputs
ONLY     ?=
LDFLAGS   = $(if $(VERSION),-ldflags "-X github.com/parleybus/parley/internal/daemon.Version=$(VERSION)")
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: help build dist sizes test check lint fuzz recordings inputs bench bench-peers curves e2e flood chaos recovery planted js ci

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## the four binaries, in bin/; VERSION=1.2.3 sets what --version prints
	CGO_ENABLED=0 go build -trimpath $(LDFLAGS) -o bin/ ./cmd/...

dist: ## archives for all platforms, a bill of materials for each binary and SHA256SUMS, in dist/; VERSION=1.2.3 or the commit's tag
	rm -rf dist
	go run ./internal/release -version "$(or $(VERSION),$(patsubst v%,%,$(shell git describe --tags --always --dirty)))" -out dist

sizes: ## bytes and modules of each stripped binary
	@.ci/sizes

test: ## all tests, as go test ./... runs them
	go test ./...

# Tests of whole processes, releases, clusters and kills take minutes: make e2e and make chaos
# run them, and CI runs all of them.
LONG := TestSeeds|AnotherLeaderCopies|TestRecovery|PlantedBugs|TestScripts|TestTerminal|E2E|ReplicaThatLags|ComeAndGo|KilledWorkers|WorkersOfAllLanguages|FollowTheChecklist|PlantedFaults|AtAnyMoment|FourWorkers|Stranger|CommandsPrintTheSame|OutsideTheModule|EverythingIsEmbedded|FiveMegabytes|WhatIsDeletedIsCreatedAgain|AReleaseIsTheSameTwice|TheBillNames|ReleasedBinaries

check: ## what must pass before a commit: format, vet, staticcheck, go.mod, tests with the race detector but the long ones
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run gofmt -w on these"; exit 1; }
	go vet ./...
	go tool staticcheck ./...
	go mod tidy -diff
	go test -race -shuffle=on -parallel 4 -timeout 20m -skip '$(LONG)' ./...

lint: ## golangci-lint, pinned; .golangci.yml lists the linters and why
	go run $(GOLANGCI) run ./...

fuzz: ## every fuzz target for FUZZTIME (30s) each
	.ci/fuzz $(FUZZTIME)

recordings: ## decode the recordings next to the project, as a table; fails on any difference
	go run ./internal/llm/recording/table

inputs: ## inputs that broke systems of this kind, from the directory INPUTS next to the project, as a table; fails if anything else comes out than must; ONLY="schemas wirecases/429_long" runs these
	INPUTS=$(INPUTS) .ci/inputs $(ONLY)

bench: ## events per second, latency and CPU on this machine, compared with raw JetStream
	go run ./cmd/parley bench
	go run ./cmd/parley bench --processes

bench-peers: ## Parley beside plain JetStream and Redis Streams by hand, TIMES (3) times; needs redis-server
	cd internal/bench/peers && go build -o ../../../bin/peers . && ../../../bin/peers -times $(TIMES)

curves: ## reading a conversation by its length, a view and resuming, each in a log with STREAM (100000) messages of others on each side; a late turn, bytes on disk, memory with IDLE (2000) idle conversations
	PARLEY_STREAM=$(STREAM) go test -run xxx -bench 'CatchUp|Resume' -benchtime 20x -timeout 60m ./internal/bus
	PARLEY_STREAM=$(STREAM) go test -run xxx -bench View -benchtime 50x -timeout 60m .
	go test -run xxx -bench 'Turns|Disk' -benchtime 3x .
	go test -run xxx -bench ConversationApply ./internal/accumulator
	PARLEY_IDLE=$(IDLE) go test -count=1 -v -timeout 60m -run E2EIdle ./cmd/parley

e2e: ## the real commands, by scripts, and workers of three languages
	go test -race -count=1 -v -run 'TestScripts|TestTerminal|E2E|WorkersOfAllLanguages|FollowTheChecklist|PlantedFaults|CommandsPrintTheSame|OutsideTheModule|EverythingIsEmbedded' . ./cmd/... ./examples/...

flood: ## each hostile input (ONLY="claims": those with that in their names) for FLOOD (60s) beside an honest conversation: latency, memory, answers
	PARLEY_FLOOD=$(FLOOD) PARLEY_ONLY="$(ONLY)" go test -count=1 -v -timeout 60m -run E2EFlood ./cmd/parley

chaos: ## SEEDS (20) runs of real processes with seeded faults, on NODES (1) servers, the matrix of faults and moments (270 seeds cover it), and as many schedules for lanes and viewers, all judged by checkers; seeds in the file FINISHED have passed before and are not run again; COUNT (5) times the tests that cut connections and stop processes; 10,000 waiting conversations
	PARLEY_CLOCKS=1 PARLEY_SEEDS=$(SEEDS) PARLEY_FIRST_SEED=$(FIRST) PARLEY_NODES=$(NODES) PARLEY_FINISHED=$(abspath $(FINISHED)) go test -count=1 -v -timeout 0 -run Seeds ./internal/chaos
	PARLEY_SEEDS=$(SEEDS) go test -race -count=1 -timeout 6h -run 'Linearizable|LaneChecker|AttachFuzz' ./internal/bus .
	go test -race -count=$(COUNT) -run 'Cut|Kill|ComeAndGo|Restarted|IsLost|Harmless|Cancel|TwoPeople|Anew|AtAnyMoment|FourWorkers|Stranger' ./internal/bus ./internal/daemon
	PARLEY_WAITING=10000 go test -count=1 -v -run ConversationsThatWait ./internal/daemon
	PARLEY_LAG=full go test -count=1 -v -timeout 20m -run ReplicaThatLags ./internal/bus ./internal/daemon

recovery: ## how long a turn stands still after a fault, COUNT (5) times each, on NODES (1) servers: the table of docs/reliability.md
	PARLEY_ROUNDS=$(COUNT) PARLEY_NODES=$(NODES) go test -count=1 -v -timeout 0 -run TestRecovery ./internal/chaos

planted: ## each of BUGS (all) planted bugs in real processes, lanes and viewers is found by its checker within 20 seeds; prints which seed and which check
	PARLEY_BUGS=$(BUGS) go test -count=1 -v -timeout 0 -run PlantedBugsAreFound ./internal/chaos

js: ## the JavaScript client: install, build, test; needs npm, and Chromium for the test in a browser
	cd clients/js && (npm ci --no-audit --no-fund || npm install --no-audit --no-fund) && npm run build && npm test

ci: ## what CI runs
	.ci/run
