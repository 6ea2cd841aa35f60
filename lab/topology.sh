#!/bin/bash
# Two sites, N underlay paths, in network namespaces of their own:
#
#   P-ha --lan0--lan0-- P-gwa --u0--a0-- P-net --b0--u0-- P-gwb --lan0--lan0-- P-hb
#                             --u1--a1--       --b1--u1--
#                             ...    link emulator     ...
#
#   host A     10.77.1.2/24        gateway A  10.77.1.1 (lan0), 10.78.K.1/24 (uK)
#   host B     10.77.2.2/24        gateway B  10.77.2.1 (lan0), 10.78.K.2/24 (uK)
#
# Path K = 0 .. N-1. The emulator in P-net moves frames from aK to bK and back; without it nothing passes.
# Besides .2 each host has the address .1K+0 (.10 for path 0, .11 for path 1 ...). Traffic between
# 10.77.1.(10+K) and 10.77.2.(10+K) is always routed over path K, whatever the tunnel does: that is the
# "one path without Sundog" to compare with, in the same instants if wanted. Traffic between the .2 addresses
# goes where `route` says: over path K, or into the tunnel device.
#
#   topology.sh up PREFIX [PATHS]          make it (3 paths); what was there under this prefix is taken down first
#   topology.sh down PREFIX                take it down; only namespaces this script made
#   topology.sh emulate PREFIX [ARG...]    run the emulator in P-net in the foreground, links p0 .. pN-1
#   topology.sh route PREFIX path K        .2 to .2 over path K
#   topology.sh route PREFIX dev NAME      .2 to .2 into NAME (the tunnel device) on both gateways
#   topology.sh socket PREFIX              print the emulator's control socket
#
# The emulator is build/lab/linkemu beside this folder, or $LINKEMU.
#
# Everything is inside the namespaces and /run/sundog-lab/PREFIX; nothing outside them changes.
set -euo pipefail

lab_run=/run/sundog-lab
linkemu=${LINKEMU:-$(dirname "$0")/../build/lab/linkemu}
die() { echo "topology: $*" >&2; exit 1; }

is_prefix() { [[ $1 =~ ^[a-z][a-z0-9-]{0,19}$ ]] || die "\"$1\" is not a prefix: a lower-case letter, then letters, digits and -"; }

# A namespace is ours when its name is in the list that `up` wrote: another's of the same name is left alone.
down() {
        local ns
        [ -f "$lab_run/$1/namespaces" ] || return 0
        while read -r ns; do
                ip netns del "$ns" 2>/dev/null || true
        done <"$lab_run/$1/namespaces"
        rm -rf "${lab_run:?}/$1"
}

namespace() {
        local ns=$1-$2
        ip netns list | grep -q "^$ns\( \|$\)" && die "namespace $ns is there already and not from this script; choose another prefix"
        ip netns add "$ns"
        echo "$ns" >>"$lab_run/$1/namespaces"
        ip netns exec "$ns" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 \
                net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
        ip -n "$ns" link set lo up
}

# One veth pair, NS1 IF1 MAC1 NS2 IF2 MAC2. As many queues as CPUs: two of them feeding one ring lose frames.
# Checksums complete and frames no longer than the MTU, as on a real wire: XDP and packet sockets see them.
# GRO stays on, since it is what lets XDP redirect into the other end; with a limit of one byte it merges nothing.
pair() {
        local cpus
        cpus=$(nproc)
        ip link add "$2" netns "$1" address "$3" numtxqueues "$cpus" numrxqueues "$cpus" type veth \
                peer name "$5" netns "$4" address "$6" numtxqueues "$cpus" numrxqueues "$cpus"
        local end
        for end in "$1 $2" "$4 $5"; do
                ip netns exec ${end% *} ethtool -K ${end#* } tx off tso off gso off gro on >/dev/null 2>&1 ||
                        die "ethtool cannot set the offloads of ${end#* } in ${end% *}"
        done
        # Up only when both ends ask for GRO: a veth learns at that moment whether its peer takes redirected frames.
        for end in "$1 $2" "$4 $5"; do
                ip -n ${end% *} link set ${end#* } gro_max_size 1 up
        done
}

up() {
        local p=$1 paths=$2 k host=() mac
        [[ $paths =~ ^[1-8]$ ]] || die "\"$paths\" paths: 1 to 8"
        down "$p"
        mkdir -p "$lab_run/$p"
        echo "$paths" >"$lab_run/$p/paths"
        for k in ha gwa net gwb hb; do namespace "$p" $k; done

        local side=1 h gw
        for h in ha hb; do
                gw=gw${h#h}
                pair "$p-$h" lan0 02:5d:00:00:0$side:02 "$p-$gw" lan0 02:5d:00:00:0$side:01
                ip -n "$p-$h" addr add 10.77.$side.2/24 dev lan0
                ip -n "$p-$gw" addr add 10.77.$side.1/24 dev lan0
                for ((k = 0; k < paths; k++)); do ip -n "$p-$h" addr add 10.77.$side.$((10 + k))/24 dev lan0; done
                ip -n "$p-$h" route add default via 10.77.$side.1
                ip netns exec "$p-$gw" sysctl -qw net.ipv4.ip_forward=1
                # No ARP on the way: a lost request would look like a bad path.
                ip -n "$p-$h" neigh replace 10.77.$side.1 lladdr 02:5d:00:00:0$side:01 dev lan0 nud permanent
                for k in 2 $(seq 10 $((9 + paths))); do
                        ip -n "$p-$gw" neigh replace 10.77.$side.$k lladdr 02:5d:00:00:0$side:02 dev lan0 nud permanent
                done
                side=2
        done
        for ((k = 0; k < paths; k++)); do
                pair "$p-gwa" u$k 02:5d:00:01:0$k:01 "$p-net" a$k 02:5d:00:01:0$k:0a
                pair "$p-gwb" u$k 02:5d:00:01:0$k:02 "$p-net" b$k 02:5d:00:01:0$k:0b
                ip -n "$p-gwa" addr add 10.78.$k.1/24 dev u$k
                ip -n "$p-gwb" addr add 10.78.$k.2/24 dev u$k
                ip -n "$p-gwa" neigh replace 10.78.$k.2 lladdr 02:5d:00:01:0$k:02 dev u$k nud permanent
                ip -n "$p-gwb" neigh replace 10.78.$k.1 lladdr 02:5d:00:01:0$k:01 dev u$k nud permanent
                ip -n "$p-gwa" route add 10.77.2.$((10 + k))/32 via 10.78.$k.2 dev u$k
                ip -n "$p-gwb" route add 10.77.1.$((10 + k))/32 via 10.78.$k.1 dev u$k
        done
        route "$p" path 0
}

paths_of() { cat "$lab_run/$1/paths" 2>/dev/null || die "$1 is not up"; }

route() {
        local paths
        paths=$(paths_of "$1")
        case $2 in
        path)
                [[ $3 =~ ^[0-9]$ ]] && [ "$3" -lt "$paths" ] || die "there is no path $3: 0 to $((paths - 1))"
                ip -n "$1-gwa" route replace 10.77.2.0/24 via 10.78.$3.2 dev u$3
                ip -n "$1-gwb" route replace 10.77.1.0/24 via 10.78.$3.1 dev u$3
                ;;
        dev)
                ip -n "$1-gwa" route replace 10.77.2.0/24 dev "$3"
                ip -n "$1-gwb" route replace 10.77.1.0/24 dev "$3"
                ;;
        *) die "route: \"$2\" is neither path nor dev" ;;
        esac
}

emulate() {
        local p=$1 paths k links=()
        shift
        [ -x "$linkemu" ] || die "$linkemu is not there; build it, or say where it is with LINKEMU="
        paths=$(paths_of "$p")
        for ((k = 0; k < paths; k++)); do links+=(--link "p$k=a$k,b$k"); done
        exec ip netns exec "$p-net" "$linkemu" --control "$lab_run/$p/emu.sock" "${links[@]}" "$@"
}

[ $# -ge 2 ] || { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
verb=$1 prefix=$2
shift 2
is_prefix "$prefix"
case $verb in
up) up "$prefix" "${1:-3}" ;;
down) down "$prefix" ;;
route) [ $# -eq 2 ] || die "route PREFIX path K | dev NAME"; route "$prefix" "$@" ;;
emulate) emulate "$prefix" "$@" ;;
socket) echo "$lab_run/$prefix/emu.sock" ;;
*) die "\"$verb\" is not a verb: up, down, route, emulate, socket" ;;
esac
