# shellcheck shell=bash
# The two gateways of a bench: sundogd in the gateway namespaces of lab/topology.sh. Needs tests/lab/lab.sh first.
#
#     gateway_configure always           configuration of both sides; mirror: auto, always, never
#     gateway_start a; gateway_start b   start, or start again; returns once the daemon answers
#     gateway_restart a                  end it in good order and start it with a changed configuration
#     gateway_pids a                     every process of that side
#     gateway_revive a                   after a process was killed: start what is gone
#
# A path without traffic is probed every 2 s unless STAMP_INTERVAL=100ms says otherwise.
# `lab_end` stops them. Everything they write is in the lab's own folder.
sundogd=$lab_build/sundogd
sundog=$lab_build/sundog
declare -A gateway_pid=()

gateway_lacks() {
        [ -x "$sundogd" ] || { echo "$sundogd is not built"; return 0; }
        [ -x "$sundog" ] || { echo "$sundog is not built"; return 0; }
        return 1
}

# One side's configuration: SIDE OTHER NUMBER-OF-SIDE NUMBER-OF-OTHER MIRROR
gateway_write() {
        local paths k
        paths=$(cat "/run/sundog-lab/$lab_prefix/paths")
        mkdir -p "$lab_dir/$1" "$lab_dir/pins-$1"
        chown "${GATEWAY_USER:-nobody}" "$lab_dir/$1"
        # A BPF file system of each side's own: what is pinned goes with the test.
        mountpoint -q "$lab_dir/pins-$1" || mount -t bpf -o mode=700 bpf "$lab_dir/pins-$1"
        cat <<YAML
site: site-$1
user: ${GATEWAY_USER:-nobody}
store:
  path: $lab_dir/$1/store.db
api:
  socket: $lab_dir/$1/api.sock
profiles:
  - name: voice
    latency: 150ms
    loss: 1%
tunnels:
  - name: lab
    id: 1
    device: sd0
    peer: site-$2
    address: 10.79.0.$3/24
    key_file: $lab_dir/key
${STAMP_BUSY:+    stamp_busy: $STAMP_BUSY}
    paths:
YAML
        for ((k = 0; k < paths; k++)); do
                cat <<YAML
      - {name: p$k, id: $k, device: u$k, local: 10.78.$k.$3, remote: 10.78.$k.$4}
YAML
        done
        cat <<YAML
classes:
  - name: voice
    profile: voice
    mirror: $5
YAML
}

gateway_configure() {
        head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$lab_dir/key"
        chmod 600 "$lab_dir/key"
        chmod 711 "$lab_dir"
        gateway_write a b 1 2 "$1" >"$lab_dir/a.yaml"
        gateway_write b a 2 1 "$1" >"$lab_dir/b.yaml"
}

gateway_answers() { in_ns "gw$1" "$sundog" status -o json --socket "$lab_dir/$1/api.sock"; }

gateway_start() {
        spawn_in "gw$1" "sundogd-$1.log" "$sundogd" --config "$lab_dir/$1.yaml" --pins "$lab_dir/pins-$1"
        gateway_pid[$1]=$!
        wait_for 10 gateway_answers "$1" || { tail -5 "$lab_dir/sundogd-$1.log"; return 1; }
}

# With what gateway_configure wrote last.
gateway_restart() {
        kill "${gateway_pid[$1]}" 2>/dev/null
        wait_for 10 gateway_is_gone "$1" && gateway_start "$1"
}

# lab_down calls this once every process is gone.
lab_cleanup() {
        local side
        for side in a b; do
                mountpoint -q "$lab_dir/pins-$side" && umount "$lab_dir/pins-$side"
        done
}

# Runs, and is not a process that ended and nobody asked about yet.
gateway_lives() { [[ $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) =~ ^[^ZX] ]]; }

# The daemon and everything below it.
gateway_pids() {
        local todo=("${gateway_pid[$1]}") pid
        while [ ${#todo[@]} -gt 0 ]; do
                pid=${todo[0]}
                todo=("${todo[@]:1}")
                gateway_lives "$pid" || continue
                echo "$pid"
                # shellcheck disable=SC2046
                todo+=($(cat "/proc/$pid/task/"*/children 2>/dev/null))
        done
}

gateway_is_whole() { gateway_lives "${gateway_pid[$1]}" && gateway_answers "$1" >/dev/null 2>&1; }

# Either the daemon brings its process back, or it goes down as a whole and we start it, as an init system would.
gateway_revive() {
        local until=$(($(date +%s) + 5))
        while gateway_lives "${gateway_pid[$1]}" && [ "$(date +%s)" -lt $until ]; do
                gateway_is_whole "$1" && return 0
                sleep 0.05
        done
        wait_for 5 gateway_is_gone "$1" || { echo "processes of gateway $1 outlive their daemon"; return 1; }
        gateway_start "$1"
}

gateway_is_gone() { [ -z "$(gateway_pids "$1")" ]; }
