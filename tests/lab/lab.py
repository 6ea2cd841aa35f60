"""What labs are made of: namespaces, programs in them, numbered traffic, and tests as statements.

A lab is a script with functions whose names are sentences, handed to run(). It prints TAP. Every
namespace has the lab's own prefix and is removed at the end, whatever happened; every program is
ended by its own process handle.
"""
import os
import queue
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback


class Failed(Exception):
    pass


def need(condition, say):
    if not condition:
        raise Failed(say)


def sh(*command, check=True):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if check and done.returncode != 0:
        raise Failed("%s: %s" % (" ".join(command), done.stderr.strip() or done.stdout.strip()))
    return done.stdout


def wait_for(condition, limit_s, say):
    """Labs wait for a condition, with a limit; they do not sleep and hope."""
    until = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise Failed("not within %g s: %s" % (limit_s, say))
        time.sleep(0.02)


class Lab:
    """Namespaces and a folder of its own. Use with "with"."""

    def __init__(self, prefix):
        self.prefix = "%s-%d" % (prefix, os.getpid())
        self.folder = tempfile.mkdtemp(prefix=self.prefix)
        self.names = []
        self.programs = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for p in self.programs:
            p.end()
        for n in self.names:
            sh("ip", "netns", "del", n, check=False)
        with open("/proc/self/mounts") as mounts:
            below = [line.split()[1] for line in mounts if line.split()[1].startswith(self.folder + "/")]
        for where in reversed(below):
            sh("umount", where, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def netns(self, name):
        full = "%s-%s" % (self.prefix, name)
        sh("ip", "netns", "add", full)
        self.names.append(full)
        sh("ip", "-n", full, "link", "set", "lo", "up")
        return full

    def cable(self, one, two, names, addresses, mtu=1500):
        """A veth pair between two namespaces: names and addresses of both ends."""
        sh("ip", "link", "add", names[0], "netns", one, "mtu", str(mtu), "numtxqueues", "2", "numrxqueues", "2",
           "type", "veth", "peer", "name", names[1], "netns", two, "mtu", str(mtu), "numtxqueues", "2",
           "numrxqueues", "2")
        for ns, name, address in zip((one, two), names, addresses):
            sh("ip", "-n", ns, "addr", "add", address, "dev", name)
            sh("ip", "-n", ns, "link", "set", name, "up")

    def path(self, name):
        return os.path.join(self.folder, name)

    def foreign_program(self):
        """The object file of an XDP program that is not ours."""
        source, made = self.path("stranger.c"), self.path("stranger.o")
        with open(source, "w") as f:
            f.write('__attribute__((section("xdp"), used)) int stranger(void *c) { return 2; }\n'
                    'char l[] __attribute__((section("license"), used)) = "GPL";\n')
        sh("clang", "-O2", "-target", "bpf", "-c", source, "-o", made)
        return made

    def start(self, *command, **more):
        p = Program(command, **more)
        self.programs.append(p)
        return p


class Program:
    """A program with lines in and out."""

    def __init__(self, command, netns=None):
        if netns:
            command = ("ip", "netns", "exec", netns) + tuple(command)
        self.lines = queue.Queue()
        self.told = []
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            self.told.append(line.rstrip())
            self.lines.put(line.rstrip())
        self.lines.put(None)

    def expect(self, start, limit_s=20):
        """The next line that begins with `start`; others before it are skipped."""
        until = time.monotonic() + limit_s
        while True:
            try:
                line = self.lines.get(timeout=max(0.01, until - time.monotonic()))
            except queue.Empty:
                raise Failed("no line \"%s...\" within %g s, but: %s" % (start, limit_s, self.told[-5:]))
            if line is None:
                raise Failed("ended before \"%s...\": %s" % (start, self.told[-5:]))
            if line.startswith(start):
                return line

    def ask(self, line, answer):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.expect(answer)

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode


def process_tree(pid):
    """It and all that descend from it, parents first."""
    todo, found = [pid], []
    while todo:
        pid = todo.pop()
        found.append(pid)
        try:
            for task in os.listdir("/proc/%d/task" % pid):
                with open("/proc/%d/task/%s/children" % (pid, task)) as f:
                    todo += [int(p) for p in f.read().split()]
        except OSError:
            pass
    return found


def words(line):
    """ "a=1 b=x" -> {"a": "1", "b": "x"} """
    return dict(w.split("=", 1) for w in line.split() if "=" in w)


SENDER = """
import socket, struct, sys, time
to, port, rate, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((to, port))
start, n = time.monotonic(), 0
while True:
    due = int((time.monotonic() - start) * rate)
    if time.monotonic() - start > seconds:
        break
    while n < due:
        s.send(struct.pack("!Q", n) + bytes(92))
        n += 1
    time.sleep(0.0005)
print("sent", n, flush=True)
"""

RECEIVER = """
import socket, struct, sys
port, quiet = int(sys.argv[1]), float(sys.argv[2])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
s.bind(("0.0.0.0", port))
print("listening", flush=True)
seen, twice, first = {}, 0, True
s.settimeout(20)
while True:
    try:
        d = s.recv(2048)
    except socket.timeout:
        break
    if first:
        s.settimeout(quiet)
        first = False
    n = struct.unpack("!Q", d[:8])[0]
    twice += n in seen
    seen[n] = True
print("got", len(seen), "twice", twice, flush=True)
"""


class Stream:
    """Numbered datagrams from one namespace to an address in another."""

    def __init__(self, lab, sender, receiver, to, seconds, rate=4000, port=7000):
        self.receiver = lab.start(sys.executable, "-c", RECEIVER, str(port), "1", netns=receiver)
        self.receiver.expect("listening")
        self.sender = lab.start(sys.executable, "-c", SENDER, to, str(port), str(rate), str(seconds), netns=sender)

    def result(self):
        """(sent, lost, delivered twice)"""
        sent = int(self.sender.expect("sent", 60).split()[1])
        got = self.receiver.expect("got", 60).split()
        return sent, sent - int(got[1]), int(got[3])


def run(*tests):
    """TAP on standard output; exit status 0 when all held."""
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root for namespaces")
        return 0
    failed = 0
    print("1..%d" % len(tests), flush=True)
    for number, test in enumerate(tests, 1):
        name = test.__name__.replace("_", " ")
        start = time.monotonic()
        try:
            said = test()
            print("ok %d - %s\n# %.1f s" % (number, name, time.monotonic() - start))
            for line in (said or "").splitlines():
                print("# " + line)
        except Exception as why:
            failed += 1
            print("not ok %d - %s" % (number, name))
            text = str(why) if isinstance(why, Failed) else traceback.format_exc()
            for line in text.splitlines():
                print("# " + line)
        sys.stdout.flush()
    return 1 if failed else 0
