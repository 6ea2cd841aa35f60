#!/bin/bash
# What aligned mode saves, beside translated mode, with the same downloads from the same servers:
# - aligned.standby_wire_of_body: bytes on the standby's wire / bytes that the clients got
# - aligned.front_program_of_translated: run time of the front's program, of the same bytes
# - aligned.program_of_translated: the same with the run time of the shims added
# Modes take turns; each figure is the median over rounds.
#
#     bench/aligned.sh        needs root and a kernel with bpf_sk_assign_tcp_reqsk (6.9); 10 s a round
#     ROUNDS=5                more rounds; 3 without
here=$(cd "$(dirname "$0")" && pwd)
build=${SUNDOG_BUILD:-$here/../build}
set -o pipefail
python3 "$here/../tests/lab/aligned.py" "$build/lab/front" "$build/lab/shim" measure | tee /dev/stderr | python3 -c '
import json, statistics, sys
rows = {}
for line in sys.stdin:
    r = dict(w.split("=") for w in line.split() if "=" in w)
    if "round" in r:
        rows.setdefault(r["mode"], []).append({k: float(v) for k, v in r.items() if k != "mode"})
if not rows:
    sys.exit("nothing was measured")
def figure(name, values, unit):
    m = statistics.median(values)
    print("%-40s %10.4f %s" % (name, m, unit), file=sys.stderr)
    print(json.dumps({"figure": name, "value": m, "unit": unit, "min": min(values), "max": max(values), "runs": len(values)}))
base = rows["translated"]
for mode in ("translated", "ungated", "aligned"):
    figure("aligned.standby_wire_of_body" + ("" if mode == "aligned" else "_" + mode),
           [r["standby_wire_bytes"] / r["bytes"] for r in rows[mode]], "ratio")
for mode in ("ungated", "aligned"):
    tail = "" if mode == "aligned" else "_" + mode
    figure("aligned.front_program_of_translated" + tail,
           [r["front_program_ms"] / b["front_program_ms"] for r, b in zip(rows[mode], base)], "ratio")
    figure("aligned.program_of_translated" + tail,
           [(r["front_program_ms"] + r["shim_program_ms"]) / b["front_program_ms"] for r, b in zip(rows[mode], base)], "ratio")
'
