#!/usr/bin/env python3
"""Every file under src/ includes only from its own folder and from floors below it.

A kind does not know another kind, the core knows no kind, no socket and no BPF. Prints one
line per breach; exit status 1 when there is any.
"""
import os, re, sys

FLOORS = [["base"], ["models", "hands"], ["core", "wire"], ["sources", "store"], ["learn"], ["kinds"], ["daemon", "ctl", "agent"]]
FLOOR = {room: n for n, rooms in enumerate(FLOORS) for room in rooms}
# What the pure rooms may not ask the system for.
IMPURE = re.compile(r"#include <(sys/socket|sys/un|netinet/|arpa/|linux/|bpf/|uv|fcntl|unistd|time|sqlite3|jansson|poll|sys/epoll)")
PURE = {"core", "models"}


def breaches(root):
    for folder, _, names in os.walk(root):
        for name in sorted(names):
            if not name.endswith((".c", ".h")):
                continue
            path = os.path.relpath(os.path.join(folder, name), root)
            room = path.split(os.sep)[0]
            own = os.path.dirname(path)
            for number, line in enumerate(open(os.path.join(root, path), encoding="utf-8"), 1):
                if room in PURE and IMPURE.match(line):
                    yield f"src/{path}:{number}: {room} is pure and may not include {line.split()[1]}"
                m = re.match(r'#include "([a-z]+)/(.*)"', line)
                if not m or m.group(1) not in FLOOR or name.endswith(".bpf.c"):
                    continue
                there, rest = m.groups()
                if there == "kinds":
                    ok = own.startswith(os.path.join("kinds", rest.split("/")[0])) or FLOOR[room] > FLOOR["kinds"]
                else:
                    ok = there == room or FLOOR[there] < FLOOR[room] or (room, there) == ("ctl", "daemon")
                if not ok:
                    yield f"src/{path}:{number}: {room} may not include {there}/{rest}: it is on the same floor or above"


found = list(breaches(sys.argv[1] if len(sys.argv) > 1 else "src"))
print("\n".join(found) if found else "layers: every include points down")
sys.exit(1 if found else 0)
