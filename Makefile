# SPDX-License-Identifier: Apache-2.0
#
# The commands of the house. The build itself is CMake's, see CMakePresets.json.

.DEFAULT_GOAL := help
.PHONY: help deps build test fuzz million lint format run shell install uninstall clean bench-boot bench-disk bench-exits bench-io bench-scheduler bench-signal conformance docs

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

deps: ## install by apt what packages.txt names and this machine lacks
	@tools/install-packages

build: deps ## build everything (the release preset, into build/release)
	@tools/build release

run: ## show it: a host comes up under an emulator, with a child partition on it
	@tools/run

shell: build ## a shell in the root partition of a host under an emulator
	@lab/croft-lab shell

test: deps ## build, and run every test there is: lint, unit tests, hosts in the lab
	@tools/test

fuzz: build ## run every fuzz target for ten minutes (FUZZ_SECONDS=3600: for an hour each), and go on from there
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-600} ctest --test-dir build/release -L fuzz --parallel "$$(nproc)" --output-on-failure

million: build ## a million hypercalls at random by the root's kernel, and by a child, under both schedulers (CALLS=…)
	@ROOT_CALLS=$${CALLS:-1000000} PYTHONPATH=. python3 -B tests/lab/test_root_calls.py -v -k random
	@HOSTILE_CALLS=$${CALLS:-1000000} PYTHONPATH=. python3 -B tests/lab/test_hostile.py -v -k guest

lint: build ## check layout, defects and names of the sources
	@tools/lint

format: deps ## put the layout of the sources right
	@tools/lint --format

docs: build ## write what is made from the sources: docs/hypercalls.md, registers.md, msrs.md, properties.md
	@for subject in hypercalls registers msrs properties; do \
	    build/release/tests/unit/hypervisor/reference $$subject >docs/$$subject.md || exit 1; done

bench-boot: build ## how long a guest takes to boot and to work beside KVM's: a table, and build/bench/boot.json
	@cmake --build --preset release --target bench-boot

bench-disk: build ## virtual disks beside qemu-img: a table, and build/bench/disk.json (BENCH_GIB=0.25: a try)
	@cmake --build --preset release --target bench-disk

bench-exits: build ## what exits cost a guest beside KVM's: a table, and build/bench/exits.json
	@cmake --build --preset release --target bench-exits

bench-io: build ## a guest's disks and networks beside KVM's with virtio: a table, and build/bench/io.json (BENCH_SECONDS=1: a try)
	@cmake --build --preset release --target bench-io

bench-scheduler: build ## how processors are shared out beside KVM with cgroups: a table, and build/bench/scheduler.json
	@cmake --build --preset release --target bench-scheduler

bench-signal: build ## signals beside KVM's ioeventfd: a table, and build/bench/signal.json
	@cmake --build --preset release --target bench-signal

install: ## install hypervisor, root kernel, GRUB's script and programs (PREFIX=/usr/local, DESTDIR=)
	@tools/build release product
	@DESTDIR="$(DESTDIR)" cmake --install build/release --prefix "$(or $(PREFIX),/usr/local)"

uninstall: ## remove what the last `make install` has installed (DESTDIR as there)
	@DESTDIR="$(DESTDIR)" tools/uninstall build/release/install_manifest.txt

conformance: build ## the TLFS's checks on Undercroft and on KVM: a matrix, and build/bench/conformance.json
	@cmake --build --preset release --target conformance

clean: ## remove build/ (what is cached outside the tree stays)
	@rm -rf build
