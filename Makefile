# The front door. Everything behind it is meson; this only saves typing and installs what is needed.
#   make demo           two sites, three recorded operators, with and without Sundog (root)
#   make demo-instance  1,000 downloads, and the server is killed: with Sundog and with plain NAT (root)
#   make test           gcc, then clang with sanitizers, every layer; ends with a count
#   make bench [NAME=]  the figures: a table on stderr, one JSON object a line on stdout
#   make build          build/sundog and build/sundogd
#   make install        into PREFIX (default /usr/local); DESTDIR is honoured
#   make soak           the long sweeps that "make test" leaves out
SHELL := /bin/bash
PREFIX ?= /usr/local
NAME ?=

.PHONY: build test bench demo demo-instance install soak packages clean

packages:
	@tools/packages.sh

build: packages
	@[ -f build/build.ninja ] || meson setup build --buildtype=release --prefix=$(PREFIX) >/dev/null
	@ninja -C build

test: packages
	@tools/run_tests.sh

bench: build
	@bench/run.sh $(NAME)

demo: build
	@build/sundog demo

demo-instance: build
	@lab/demo_instance.sh

install: build
	@meson install -C build

soak: build
	@tools/run_soak.sh

clean:
	rm -rf build build-test build-asan build-soak build-*.log demo-out
