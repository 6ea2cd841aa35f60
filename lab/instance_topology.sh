#!/bin/bash
# A client, a balancer and three servers, in network namespaces of their own:
#
#     P-cl --c0----c0-- P-lb --sa----s0-- P-a
#                            --sb----s0-- P-b
#                            --sc----s0-- P-c
#
#   client    10.80.0.2/24     fd80:0:0:0::2/64     (and .10 to .19, for more source ports)
#   balancer  10.80.0.1 (c0), 10.80.K.1 (s?)         fd80:0:0:K::1
#   server K  10.80.K.2/24     fd80:0:0:K::2/64     K = 1, 2, 3 for a, b, c
#
# Everybody's default gateway is the balancer. Addresses to serve (no interface has them, so only a front
# answers): 10.80.9.1 to 10.80.9.4 and fd80:0:0:9::1 to ::4.
#
#   instance_topology.sh up PREFIX [WORD...]   make it; what was there under this prefix is taken down first
#       bridge       all servers behind one device of the balancer, sw, through a bridge: nobody sees a carrier go
#       l2           the servers hold the served addresses themselves, on lo, and do not answer ARP for them
#       wire         checksums complete and no frame longer than the MTU, as XDP needs it. A veth's ring holds 256
#                    frames: 1,000 connections overflow it, and no qdisc in front of it helps (it gets stuck)
#       rate=400mbit limit what leaves the balancer towards the client
#       buffer=SIZE  of that limit: what waits beyond it is lost (preset 1mb)
#   instance_topology.sh down PREFIX           take it down; only namespaces this script made
#   instance_topology.sh rate PREFIX RATE|none [BUFFER]
#
# For a front on the client's own host (`is_host`), run it in P-cl on c0: P-lb is then a plain router.
#
# Everything is inside the namespaces and /run/sundog-lab/PREFIX; nothing outside them changes.
set -euo pipefail

lab_run=/run/sundog-lab
servers=(a b c)
vips=4
die() { echo "instance_topology: $*" >&2; exit 1; }

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

# Addresses outlive a link that goes down; nobody waits for duplicate address detection.
namespace() {
        local ns=$1-$2
        ip netns list | grep -q "^$ns\( \|$\)" && die "namespace $ns is there already and not from this script; choose another prefix"
        ip netns add "$ns"
        echo "$ns" >>"$lab_run/$1/namespaces"
        ip netns exec "$ns" sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 \
                net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 \
                net.ipv6.conf.all.keep_addr_on_down=1 net.ipv6.conf.default.keep_addr_on_down=1
        ip -n "$ns" link set lo up
}

# One veth pair, NS1 IF1 NS2 IF2, as many queues as CPUs. On a wire GRO stays on, since it is what lets XDP redirect
# into the other end, with a limit of one byte, which merges nothing.
# Both ends are set before either is up: going up is when an end takes note that the other will take XDP's frames.
pair() {
        local cpus end
        cpus=$(nproc)
        ip link add name "$2" netns "$1" numtxqueues "$cpus" numrxqueues "$cpus" type veth \
                peer name "$4" netns "$3" numtxqueues "$cpus" numrxqueues "$cpus"
        for end in "$1 $2" "$3 $4"; do offload $end; done
        for end in "$1 $2" "$3 $4"; do ip -n "${end% *}" link set dev "${end#* }" up; done
}
offload() {
        if [ -z "$is_wire" ]; then
                ip netns exec "$1" ethtool -K "$2" gro on >/dev/null 2>&1
        else
                ip netns exec "$1" ethtool -K "$2" tx off tso off gso off gro on >/dev/null 2>&1 &&
                        ip -n "$1" link set dev "$2" gro_max_size 1
        fi || die "ethtool cannot set the offloads of $2 in $1"
}

address() { ip -n "$1" addr add "$2" dev "$3"; ip -n "$1" addr add "$4" dev "$3" nodad; }
gateway() { ip -n "$1" route add default via "$2"; ip -n "$1" -6 route add default via "$3"; }

switch_make() {
        namespace "$1" sw
        ip -n "$1-sw" link add br0 type bridge
        ip -n "$1-sw" link set br0 up
        pair "$1-lb" sw "$1-sw" lb
        ip -n "$1-sw" link set dev lb master br0
}

server_make() { # prefix, name, number
        local lb_dev=s$2 p=$1 k=$3 v
        namespace "$p" "$2"
        if [ -n "$is_bridge" ]; then
                lb_dev=sw
                pair "$p-sw" "$2" "$p-$2" s0
                ip -n "$p-sw" link set dev "$2" master br0
        else
                pair "$p-lb" "$lb_dev" "$p-$2" s0
        fi
        address "$p-lb" "10.80.$k.1/24" "$lb_dev" "fd80:0:0:$k::1/64"
        address "$p-$2" "10.80.$k.2/24" s0 "fd80:0:0:$k::2/64"
        gateway "$p-$2" "10.80.$k.1" "fd80:0:0:$k::1"
        [ -n "$is_l2" ] || return 0
        ip netns exec "$p-$2" sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
        for ((v = 1; v <= vips; v++)); do address "$p-$2" "10.80.9.$v/32" lo "fd80:0:0:9::$v/128"; done
}

up() {
        local p=$1 word rate='' buffer=1mb i
        is_bridge='' is_l2='' is_wire=''
        shift
        for word; do
                case $word in
                bridge) is_bridge=1 ;;
                l2) is_l2=1 ;;
                wire) is_wire=1 ;;
                rate=?*) rate=${word#rate=} ;;
                buffer=?*) buffer=${word#buffer=} ;;
                *) die "\"$word\" is none of bridge, l2, wire, rate=, buffer=" ;;
                esac
        done
        down "$p"
        mkdir -p "$lab_run/$p"
        namespace "$p" cl
        namespace "$p" lb
        ip netns exec "$p-lb" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
        pair "$p-cl" c0 "$p-lb" c0
        address "$p-cl" 10.80.0.2/24 c0 fd80::2/64
        for i in {10..19}; do ip -n "$p-cl" addr add 10.80.0.$i/24 dev c0; done
        address "$p-lb" 10.80.0.1/24 c0 fd80::1/64
        gateway "$p-cl" 10.80.0.1 fd80::1
        # Many connections of one address to one address and port.
        ip netns exec "$p-cl" sysctl -qw net.ipv4.ip_local_port_range="1100 65000"
        [ -z "$is_bridge" ] || switch_make "$p"
        for i in "${!servers[@]}"; do server_make "$p" "${servers[i]}" $((i + 1)); done
        [ -z "$rate" ] || rate_set "$p" "$rate" "$buffer"
}

rate_set() {
        ip netns exec "$1-lb" tc qdisc del dev c0 root 2>/dev/null || true
        [ "$2" = none ] || ip netns exec "$1-lb" tc qdisc replace dev c0 root handle 5d: tbf rate "$2" burst 64kb limit "${3:-1mb}" ||
                die "tc cannot limit c0 to \"$2\" with a buffer of \"${3:-1mb}\""
}

[ $# -ge 2 ] || { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
verb=$1 prefix=$2
shift 2
is_prefix "$prefix"
case $verb in
up) up "$prefix" "$@" ;;
down) down "$prefix" ;;
rate) [ $# -ge 1 ] || die "rate PREFIX RATE|none [BUFFER]"; rate_set "$prefix" "$@" ;;
*) die "\"$verb\" is not a verb: up, down, rate" ;;
esac
