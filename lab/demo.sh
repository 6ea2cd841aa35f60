#!/bin/bash
# The stage of `sundog demo`: two sites and three recorded operators in namespaces, a call and a download over the
# best single path, then, in the same instants of the recordings, with Sundog. `sundog demo` starts this as the
# first process of its own PID and mount namespaces and draws what is seen; nothing here cleans up for that reason:
# when this process ends, all processes, mounts and namespaces end with it.
#
# Standard output is for the program, one line a step; whatever else is printed explains a failure:
#
#     lab DIR SOCKET            the folder with all results, and the emulator's control socket
#     paths NAME...             of the recording, in the order of the links p0, p1 ...
#     best K SECONDS            the path with the fewest bad packets, known with hindsight
#     say WORDS                 what is being done
#     phase 1|2 ZERO_NS         the call starts; the trace's clock is at zero then. Phase 2 is with Sundog
#     api SOCKET                where site A's daemon answers
#     download 1|2              it has ended
#     void WORDS                the emulator lost packets by itself: the figures mean nothing
#     end                       everything is measured; the daemons live until standard input says so
#
# DEMO_PATHS (folder of the recordings), DEMO_SECONDS (0: all), DEMO_BYTES, DEMO_RATE, SUNDOG, SUNDOGD come from the program;
# DEMO_CONFIG, more lines for both gateways' configuration, from whoever compares two of them.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../tests/lab/lab.sh"
. "$here/../bench/gateway.sh"
sundog=${SUNDOG:-$sundog}
sundogd=${SUNDOGD:-$sundogd}
voice=$lab_build/lab/voice
playlist=${DEMO_PATHS:-$lab_source/data/paths}/demo.playlist
port=7000

# Names of the operators; a class for the call, one for everything else.
gateway_write() {
        local k
        mkdir -p "$lab_dir/$1" "$lab_dir/pins-$1"
        chown nobody "$lab_dir/$1"
        mountpoint -q "$lab_dir/pins-$1" || mount -t bpf -o mode=700 bpf "$lab_dir/pins-$1"
        cat <<YAML
site: site-$1
user: nobody
store:
  path: $lab_dir/$1/store.db
api:
  socket: $lab_dir/$1/api.sock
profiles:
  - name: voice
    latency: 150ms
    loss: 1%
    breach_price: 10
  - name: bulk
    latency: 400ms
    loss: 2%
tunnels:
  - name: demo
    id: 1
    device: sd0
    peer: site-$2
    address: 10.79.0.$3/24
    key_file: $lab_dir/key
    paths:
YAML
        for k in "${!name[@]}"; do
                echo "      - {name: ${name[k]}, id: $k, device: u$k, local: 10.78.$k.$3, remote: 10.78.$k.$4}"
        done
        cat <<YAML
classes:
  - name: call
    id: 1
    profile: voice
    match: {protocol: udp, ports: $port}
    mirror: auto
  - name: download
    id: 2
    profile: bulk
    mirror: never
${DEMO_CONFIG:-}
YAML
}

site_a_status() { "$sundog" status -o json --socket "$lab_dir/a/api.sock" >"$lab_dir/status$1.json"; }

# phase NUMBER ADDRESS-AT-A ADDRESS-AT-B
phase() {
        local receiver sender server client
        spawn_in hb "recv$1.err" "$voice" recv --bind "$3:$port" --wait 20s --idle 2s --live 200ms \
                --report "$lab_dir/call$1.json" --series "$lab_dir/call$1.csv"
        receiver=$!
        spawn_in hb "server$1.log" iperf3 -s -1 -B "$3"
        server=$!
        wait_for 5 in_ns hb sh -c "ss -lun | grep -q $3:$port && ss -ltn | grep -q $3:5201" ||
                bail "the receivers of the call and the download do not start"
        emu stats reset
        emu start
        cp "$lab_dir/emu.json" "$lab_dir/zero$1.json"
        spawn_in ha "send$1.json" "$voice" send --to "$3:$port" --from "$2:0" --for "${seconds}s"
        sender=$!
        spawn_in ha "download$1.json" iperf3 -c "$3" -B "$2" -R -n "$DEMO_BYTES" -J --connect-timeout 5000
        client=$!
        echo "phase $1 $(json "$lab_dir/zero$1.json" '["zero_ns"]')"
        wait -n "$client" "$sender"
        kill -0 "$client" 2>/dev/null || echo "download $1"
        wait "$sender"
        emu stats
        cp "$lab_dir/emu.json" "$lab_dir/emu$1.json"
        [ "$1" = 1 ] || site_a_status 2
        # What has not arrived by now has missed the phase: the download counts as unfinished.
        kill "$client" 2>/dev/null
        wait "$receiver" || bail "not one packet of the call arrived"
        kill "$server" 2>/dev/null
        wait "$client" "$server" 2>/dev/null
        emu stop
        emu_kept_up >"$lab_dir/kept" || echo "void $(cat "$lab_dir/kept")"
}

trap 'exit 1' INT TERM
echo "say building two sites and three operators"
lab_begin demo 3

limit=()
[ "${DEMO_SECONDS:-0}" = 0 ] || limit=(--for "${DEMO_SECONDS}s")
"$lab_build/lab/tracestat" --json "${limit[@]}" "$playlist" >"$lab_dir/want.json" || bail "the recording cannot be read"
name=()
for k in 0 1 2; do name[k]=$(json "$lab_dir/want.json" "['paths'][$k]"); done
best=$(json "$lab_dir/want.json" '["best_index"]')
seconds=$(($(json "$lab_dir/want.json" '["length_ms"]') / 1000))
[ "${DEMO_SECONDS:-0}" = 0 ] || [ "$DEMO_SECONDS" -ge "$seconds" ] || seconds=$DEMO_SECONDS
for k in 0 1 2; do
        emu set p$k rate "$DEMO_RATE" queue 128KiB && emu trace p$k "$playlist" "${name[k]}" half ||
                bail "the emulator does not take the recording: $(cat "$lab_dir/emu.json")"
done
echo "lab $lab_dir /run/sundog-lab/$lab_prefix/emu.sock"
echo "paths ${name[*]}"
echo "best $best $seconds"

# The best single path, as hindsight has it: its own addresses, no tunnel.
phase 1 "10.77.1.1$best" "10.77.2.1$best"

# With Sundog, which starts only now and knows nothing of the first phase.
echo "say starting Sundog on both gateways"
emu start
emu stop
gateway_configure auto
# Site B first: probes that nobody answers yet would be lost ones to site A, which steers the call.
gateway_start b && gateway_start a || bail "the gateways do not start"
topology route dev sd0
wait_for 10 in_ns ha ping -c 1 -W 1 10.77.2.2 || bail "the tunnel does not carry a ping"
echo "api $lab_dir/a/api.sock"
site_a_status 1
phase 2 10.77.1.2 10.77.2.2
echo end
read -r _
exit 0
