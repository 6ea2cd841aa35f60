#!/usr/bin/env python3
"""Radio sources against a real D-Bus daemon with a made ModemManager, files, pipes and HTTP. F3: signals from outside are
taken in. I14: what lies, hangs, vanishes or sends too much does no harm and is told of once."""
import http.server
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

TOOL, HERE = sys.argv[1], pathlib.Path(__file__).parent
count = failures = 0


def ok(is_so, text):
    global count, failures
    count += 1
    failures += not is_so
    print(f"{'ok' if is_so else 'not ok'} {count} - {text}", flush=True)


class Tool:
    """The tool at work; its lines are gathered as they come."""

    def __init__(self, seconds, *words):
        self.lines = []
        self.process = subprocess.Popen([TOOL, str(seconds), *map(str, words)], stdout=subprocess.PIPE, text=True)
        self.thread = threading.Thread(target=self.gather)
        self.thread.start()

    def gather(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    @property
    def readings(self):
        return [json.loads(x) for x in list(self.lines) if x.startswith("{")]

    def wait(self, is_there, seconds=8):
        """Until a reading, or a line that begins as told, is there."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if isinstance(is_there, str):
                if any(is_there in x for x in list(self.lines)):
                    return True
            elif any(is_there(r) for r in self.readings):
                return True
            time.sleep(0.05)
        print("#", *self.lines[-8:], sep="\n#   ")
        return False

    def end(self, is_now=False):
        if is_now:
            self.process.terminate()
        self.thread.join()
        self.process.wait()
        last = self.lines[-1] if self.lines and self.lines[-1].startswith("end") else ""
        return {k: float(v) for k, v in (w.split("=") for w in last.split()[1:])}


class Bus:
    CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
     "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
    <busconfig><type>session</type><listen>unix:path={0}</listen>
    <policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/>
    <allow receive_sender="*"/>{1}</policy></busconfig>"""
    REFUSE = ('<deny send_interface="org.freedesktop.ModemManager1.Modem.Signal"/>'
              '<deny send_interface="org.freedesktop.ModemManager1.Modem" send_member="GetCellInfo"/>')

    def __init__(self, folder, is_strict=False):
        self.path = f"{folder}/bus"
        config = pathlib.Path(f"{folder}/bus.conf")
        config.write_text(self.CONFIG.format(self.path, self.REFUSE if is_strict else ""))
        pathlib.Path(self.path).unlink(missing_ok=True)
        self.process = subprocess.Popen(["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address"],
                                        stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()
        os.chmod(self.path, 0o777)

    def stop(self):
        self.process.kill()
        self.process.wait()


class Manager:
    def __init__(self, bus):
        self.process = subprocess.Popen(["/usr/bin/python3", HERE / "modem_manager.py", bus.address],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def do(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def stop(self):
        self.process.kill()
        self.process.wait()


def modem_at_work(folder):
    bus = Bus(folder)
    tool = Tool(60, "modem", bus.path, "auto", "wwan0")
    ok(tool.wait("! path lte: its radio says nothing: ModemManager does not run"), "no ModemManager is told of")
    manager = Manager(bus)
    ok(tool.wait(lambda r: r.get("rsrp_dbm") == -90 and r.get("sinr_db") == 14 and r["technology"] == "lte"
                 and r.get("rssi_dbm") == -62 and abs(r.get("signal", 0) - .61) < 1e-6),
       "it comes, and its modem's levels are told")
    ok(any(x.startswith("+ path lte: its radio tells again") for x in tool.lines), "and that they are told again")
    ok(manager.process.stdout.readline() == "setup /org/freedesktop/ModemManager1/Modem/3 1\n",
       "the right one of two modems is told to measure, once a second")
    manager.do("lte -101.5 -14 3 -71")
    ok(tool.wait(lambda r: r.get("rsrp_dbm") == -101.5, 2), "a change is told")
    manager.do("cell 77AA")
    ok(tool.wait(lambda r: r.get("since_handover_s") == 0, 3), "another cell is a handover")
    manager.do("access 0xC000")
    manager.do("nr -85 -10 21")
    ok(tool.wait(lambda r: r["technology"] == "nr" and r.get("rsrp_dbm") == -85, 3), "the newest technology counts")
    manager.do("access 0x4000")
    manager.do("nr")
    manager.do("lte unknown -9 999 1000")
    ok(tool.wait(lambda r: r["technology"] == "lte" and "rsrp_dbm" not in r and "rssi_dbm" not in r, 3),
       "what is unknown or impossible is not told")
    manager.do("lte -88 -9 14 -62")
    tool.wait(lambda r: r.get("rsrp_dbm") == -88, 3)
    manager.do("unplug")
    ok(tool.wait("none of 1 modems has the device wwan0"), "a modem that is unplugged is missed")
    had = len(tool.readings)
    manager.do("plug")
    ok(tool.wait(lambda r: len(tool.readings) > had and r.get("rsrp_dbm") == -88), "and found when it is back")
    manager.do("hang 8")
    before = len(tool.lines)
    time.sleep(.3)
    had = len(tool.readings)
    time.sleep(2)
    ok(len(tool.readings) <= had + 1, "a ModemManager that hangs tells nothing")
    time.sleep(6)
    had = len(tool.readings)
    ok(tool.wait(lambda r: len(tool.readings) > had), "and is heard again when it goes on")
    manager.stop()
    time.sleep(.5)
    manager = Manager(bus)
    had = len(tool.readings)
    ok(tool.wait(lambda r: len(tool.readings) > had and r.get("rsrp_dbm") == -90), "one that is restarted is used")
    bus.stop()
    manager.stop()
    time.sleep(1)
    had = len(tool.readings)
    bus = Bus(folder)
    manager = Manager(bus)
    ok(tool.wait(lambda r: len(tool.readings) > had), "and so is a bus that is restarted")
    counted = tool.end(is_now=True)
    ok(counted.get("impossible", 0) > 0 and counted["longest_ms"] < 200 and counted["cpu_ms"] < 3000,
       f"impossible values are counted; no turn was long: {counted}")
    ok(before > 0 and sum("says nothing" in x for x in tool.lines) <= 6, "silence is told of once each time")
    manager.stop()
    bus.stop()


def modem_refused(folder):
    bus = Bus(folder, is_strict=True)
    manager = Manager(bus)
    tools = [Tool(6, "modem", bus.path, "3", "eth9"), Tool(6, "modem", bus.path, "350000000000001", "eth9"),
             Tool(6, "modem", bus.path, "9", "eth9")]
    if os.geteuid() == 0:
        ok(tools[0].wait("may not be told to measure") or tools[0].wait("does not tell its cells"),
           "what polkit refuses is said, with what to do")
    else:
        ok(True, "# SKIP refusal needs another user: no root")
    ok(tools[0].wait(lambda r: r.get("rsrp_dbm") == -90), "by its index; without permission the rest is told")
    ok(tools[1].wait(lambda r: r.get("rsrp_dbm") == -90), "by its IMEI")
    ok(tools[2].wait("none of 2 modems is 9"), "one that is not there is missed by name")
    for tool in tools:
        tool.end(is_now=True)
    manager.stop()
    bus.stop()
    # Not a bus: a socket that says nothing, and one that says nonsense, both at once.
    told = []
    threads = [threading.Thread(target=not_a_bus, args=(f"{folder}/not-a-bus-{i}", text, told))
               for i, text in enumerate((None, b"\0" * 65536))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for lines, counted in told:
        ok("path lte: its radio says nothing: the bus at" in "".join(lines), f"no bus: {lines[:1]}")
        ok(counted["longest_ms"] < 100 and counted["cpu_ms"] < 500, f"which holds nobody up: {counted}")


def not_a_bus(path, text, told):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        os.chmod(path, 0o777)
        server.listen()
        tool = Tool(16, "modem", path, "auto", "wwan0")
        server.settimeout(1)
        end = time.monotonic() + 15
        while time.monotonic() < end:
            try:
                peer = server.accept()[0]
                if text:
                    peer.sendall(text)
                    peer.close()
            except (TimeoutError, OSError):
                pass
        counted = tool.end()
        told.append((tool.lines, counted))


DISH = {"dishGetStatus": {"popPingLatencyMs": 33.5, "popPingDropRate": 0.125, "obstructionStats":
                          {"fractionObstructed": 0.02}, "deviceState": {"uptimeS": "99"}}}


def files(folder):
    path = pathlib.Path(f"{folder}/radio")
    tool = Tool(14, "file", path)
    ok(tool.wait("its radio says nothing: cannot find"), "a file that is missing is told of")
    path.write_text("rsrp_dbm -97\nsinr_db 4.5\n\n")
    ok(tool.wait(lambda r: r.get("rsrp_dbm") == -97 and r.get("sinr_db") == 4.5), "keys and values, one a line")
    path.write_text('{"rsrp_dbm": -98, "technology": "nr", "cell": "x"}\n{"rsrp_dbm": -99, "cell": "y"}\n')
    ok(tool.wait(lambda r: r.get("rsrp_dbm") == -99 and r["technology"] == "unknown"), "of lines of JSON the last")
    path.write_text("rsrp_dbm -32768 sinr_db 255\n")
    time.sleep(.5)
    ok(all(r.get("sinr_db") != 255 for r in tool.readings), "impossible values are not told")
    with path.open("w") as to:
        to.write("noise noise\n" * 9000000)
        to.write("rsrp_dbm -70\n")
    ok(tool.wait(lambda r: r.get("rsrp_dbm") == -70), "of 108 MB the end is read")
    os.utime(path, (1, 1))
    time.sleep(.5)
    had = len(tool.readings)
    path.write_text("rsrp_dbm -71\n")
    os.utime(path, (time.time() + 9e6, time.time() + 9e6))
    ok(tool.wait(lambda r: r.get("rsrp_dbm") == -71), "a file from the future is one whose clock was set back")
    path.write_text("rsrp_dbm -60\n")
    os.utime(path, (1, 1))
    time.sleep(.6)
    ok(all(r.get("rsrp_dbm") != -60 for r in tool.readings) and had, "one from long ago is stale")
    path.unlink()
    path.mkdir()
    time.sleep(1)
    counted = tool.end(is_now=True)
    ok(counted["impossible"] >= 2 and counted["old"] >= 1 and counted["rss_kb"] < 20000, f"counted: {counted}")
    path.rmdir()

    path.write_text(json.dumps(DISH, indent=1)[:60])
    tool = Tool(4, "dish", path)
    time.sleep(.6)
    path.write_text(json.dumps(DISH, indent=1))
    ok(tool.wait(lambda r: r.get("drop") == .125 and abs(r["obstruction"] - .02) < 1e-6 and r["outage"] is False
                 and r["technology"] == "satellite" and 0 <= r["slot_s"] < 15), "a dish, after half a file")
    path.write_text(json.dumps({"dishGetStatus": dict(DISH["dishGetStatus"], outage={"cause": "NO_DOWNLINK"})}))
    ok(tool.wait(lambda r: r.get("outage") is True), "a dish that is cut off says so")
    path.write_text("[" * 200000)
    time.sleep(.5)
    ok(tool.end(is_now=True).get("malformed", 0) > 0, "200,000 brackets are no JSON of ours")
    path.unlink()


def pipes(folder):
    path = f"{folder}/pipe"
    os.mkfifo(path)
    os.chmod(path, 0o644)
    tool = Tool(12, "file", path)
    with open(path, "w") as to:
        to.write("rsrp_dbm -80 tech")
        to.flush()
        time.sleep(.3)
        to.write("nology lte\n")
        to.flush()
        ok(tool.wait(lambda r: r.get("rsrp_dbm") == -80 and r["technology"] == "unknown" or
                     r.get("rsrp_dbm") == -80 and r["technology"] == "lte"), "a line that comes in halves is one line")
        ok(all(r["technology"] == "lte" for r in tool.readings), "read when it is whole")
        to.write("x" * 100000 + "\nrsrp_dbm -81\n")
        to.flush()
        ok(tool.wait(lambda r: r.get("rsrp_dbm") == -81), "one that is too long is passed over")
    time.sleep(.5)
    end = time.monotonic() + 3
    sent = 0
    with open(path, "wb") as to:
        os.set_blocking(to.fileno(), False)
        while time.monotonic() < end:
            try:
                sent += os.write(to.fileno(), b"rsrp_dbm -82\n" * 1000)
            except BlockingIOError:
                time.sleep(.001)
    ok(tool.wait(lambda r: r.get("rsrp_dbm") == -82), "whoever comes next is heard")
    counted = tool.end(is_now=True)
    ok(counted["cpu_ms"] < 1500 and counted["longest_ms"] < 100 and counted["readings"] < 12 * 25
       and sent < 3 * 600000 and counted["rss_kb"] < 20000,
       f"a flood is taken slowly: {sent} octets in 3 s; {counted}")


class Answer(http.server.BaseHTTPRequestHandler):
    mode = "fine"

    def do_GET(self):
        if Answer.mode == "hang":
            time.sleep(4)
            return
        body = json.dumps(DISH).encode() if Answer.mode != "long" else b" " * (100 << 20)
        self.send_response(302 if Answer.mode == "elsewhere" else 200)
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            pass

    def log_message(self, *_):
        pass


def web(_):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    tool = Tool(22, "dish", f"http://127.0.0.1:{server.server_port}/status")
    ok(tool.wait(lambda r: r.get("ping_ms") == 33.5), "a dish by HTTP")
    for mode, text in (("hang", "did not answer in time"), ("long", "longer than is taken"),
                       ("elsewhere", "sent us elsewhere")):
        Answer.mode = mode
        ok(tool.wait(text, 9), f"{mode}: {text}")
        Answer.mode = "fine"
        had = len(tool.readings)
        ok(tool.wait(lambda r: len(tool.readings) > had, 5), "and goes on afterwards")
    counted = tool.end(is_now=True)
    server.shutdown()
    ok(counted["rss_kb"] < 20000 and sum("tells again" in x for x in tool.lines) == 3, f"told each time: {counted}")


def main():
    if not shutil.which("dbus-daemon"):
        print("1..0 # SKIP needs dbus-daemon")
        return
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        for part in (modem_at_work, modem_refused, files, pipes, web):
            print(f"# {part.__name__}", flush=True)
            part(folder)
    print(f"1..{count}")
    sys.exit(failures > 0)


main()
