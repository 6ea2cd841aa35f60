#!/bin/bash
# The instance kind under failures: a client, sundogd as balancer, three nginx, in namespaces of their own; needs root.
#
#     bench/instance.sh [kept] [stall] [ratio] [false] [diverged] [guard] [cost]    without a name all, within about five minutes
#     RUNS=3            of each failure in kept (1,000 connections) and stall; 50 is what the sweep of make soak takes
#     ROUNDS=5          of the throughput ratio, protected and plain in turn
#     SECONDS_PER=20    of wrk without failure; 600 is the figure
#
# What each figure means: bench/README.md. bench_promote and bench_front have the others of this kind.
here=$(cd "$(dirname "$0")" && pwd)
export SUNDOG_SOURCE=${SUNDOG_SOURCE:-$(dirname "$here")}
export SUNDOG_BUILD=${SUNDOG_BUILD:-$SUNDOG_SOURCE/build} PATH=$PATH:/usr/sbin:/sbin
exec python3 "$here/instance_figures.py" "$@"
