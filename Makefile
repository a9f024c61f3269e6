# Each target does all of its own set-up, from a fresh clone on.

SHELL := /bin/bash
# npm scripts use the Node.js that package-lock.json names; recipes here do too.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
INSTALLED := node_modules/.package-lock.json

.PHONY: help setup demo test test-faults test-registries check coverage fuzz bench docs image deb clean node
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: node ## install the npm packages, and the programs that the end-to-end tests run
	@test/setup.sh

demo: node ## nodes pull an image at once and share it; NODES=12 takes more, IMAGE=registry/name:tag pulls that one
	@npm run --silent demo -- $(if $(NODES),--nodes '$(NODES)') $(if $(IMAGE),--image '$(IMAGE)')

test: setup ## types, lint, format, unit tests, fuzzing, attacks, end-to-end tests with real runtimes, faults
	@test/run.sh

test-faults: setup ## about 20 minutes: 46 kinds of faults on five nodes behind shaped links
	@WHOLE=1 npm run --silent test:faults

test-registries: node ## about 15 minutes: pulls from 2,000 odd registries, directly and through Weir; SEED=1 COUNT=100 for fewer
	@node test/registries/main.ts

check: node ## types, lint, format
	@npm run --silent check

coverage: node ## how much of src the unit tests run; the report goes to build/coverage
	@npm run --silent coverage

fuzz: node ## about 15 minutes: a million inputs to all that reads what strangers send; what is found goes to build/fuzz
	@npm run --silent fuzz

bench: setup ## about 10 minutes: one node, 200 simulated nodes, 8 real ones; reports go to bench/out
	@npm run --silent bench -- node --repeat 1 --late-size 256MiB --out bench/out/node
	@npm run --silent bench -- simulate --nodes 10,50,200
	@npm run --silent bench -- crowd --nodes 8 --systems registry,proxy,weir --layers 12MiB,6MiB,3MiB,2MiB,1MiB \
	  --repeat 1 $(if $(filter 0,$(shell id -u)),,--loopback)

docs: node ## write the generated parts of docs/
	@npm run --silent docs

image: node ## build the container image for amd64 and arm64 into dist/image
	@node deploy/image/build.ts

deb: ## build/weir_VERSION_ARCH.deb, for hosts without Kubernetes; ARCH=arm64 for the other one
	@command -v dpkg-deb >/dev/null || { echo "make: dpkg-deb is missing: run this on Debian or Ubuntu"; exit 1; }
	@deploy/deb/build.sh $(if $(ARCH),--arch '$(ARCH)')

clean: ## remove what is generated
	rm -rf node_modules .cache dist bench/out build

node: $(INSTALLED)
	@test -x node_modules/.bin/node || { \
	  echo "make: node_modules/.bin/node is missing: package.json brings Node.js for Linux on x64 and arm64 only,"; \
	  echo "make: and this is $$(uname -sm); see CONTRIBUTING.md"; exit 1; }

$(INSTALLED): package-lock.json
	@command -v npm >/dev/null || { echo "make: npm is missing: install Node.js 20 or later"; exit 1; }
	npm ci --loglevel=error
	@touch $(INSTALLED)
