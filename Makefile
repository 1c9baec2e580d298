# SPDX-License-Identifier: Apache-2.0
.DEFAULT_GOAL := help
.PHONY: help deps build

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

deps: ## install by apt what packages.txt names and this machine lacks
	@tools/install-packages

build: ## build everything (release preset)
	@cmake --preset release >/dev/null
	@cmake --build --preset release
