#!/bin/bash
# 1,000 downloads through an address that Sundog protects; in the middle the server is killed with -9. Beside it the
# same with the same balancer as plain NAT, and once more with nothing broken, to know what is noise. About a minute.
#
#     lab/demo_instance.sh [--out demo-out]     needs root, and what `make build` has built
#
# Prints a table and a plot for the terminal; the picture (SVG), the numbers (JSON) and the series (CSV) go to
# demo-out. A client, the balancer and three nginx live in network namespaces of their own; nothing outside these
# changes, and all is gone at the end. Exit status 3: it ran, and Sundog lost a connection.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=${SUNDOG_BUILD:-$here/../build}
die() { echo "demo: $*" >&2; exit 1; }
[ "$(id -u)" -eq 0 ] || die "network namespaces need root: sudo make demo-instance"
for tool in ip nft ethtool nginx curl python3 ss ping; do
        command -v "$tool" >/dev/null || PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null ||
                die "\"$tool\" is not installed; make packages installs what is missing"
done
for program in sundogd sundog lab/holdclient lab/holdserver lab/drawhold; do
        [ -x "$build/$program" ] || die "$build/$program is not built: make build"
done
export PATH=$PATH:/usr/sbin:/sbin
exec python3 "$here/instances.py" demo "$@"
