#!/usr/bin/env python3
"""Write the first inputs of the wire targets into corpus/. Layouts are spelled out here a second time, from
the RFCs and from the tunnel's header, so that a seed is not merely what our own encoder made."""
import gzip
import hashlib
import hmac
import pathlib
import struct
import zlib

HERE = pathlib.Path(__file__).parent / "corpus"
KEY = bytes([7]) + bytes(31)


def tag(*parts):
    return hmac.new(KEY, b"".join(parts), hashlib.sha256).digest()[:16]


def put(target, name, data):
    folder = HERE / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def tlv(kind, value, flags=0x80):
    return bytes([flags, kind]) + struct.pack(">H", len(value)) + value


def extended(base, seq, *tlvs):
    body = b"".join(tlvs)
    return base + body + tlv(8, tag(seq, body))


def stamp():
    seq, sent = struct.pack(">I", 0), struct.pack(">II", 2208988800, 0)
    error = bytes([0x96, 0x43]) + b"\0\0"
    plain = seq + sent + error + bytes(28)
    sealed = seq + bytes(12) + sent + error + bytes(68)
    sealed += tag(sealed)
    # as answers to the probe 0 that the target has sent, with a 1970 clock
    zero = struct.pack(">II", 2208988800, 0x00400000)
    answer = seq + zero + error + zero + seq + sent + error + bytes([64, 0, 0, 0])
    sealed_answer = (seq + bytes(12) + zero + error + bytes(4) + zero + bytes(8) + seq + bytes(12) + sent
                     + error[:2] + bytes(6) + bytes([64]) + bytes(15))
    sealed_answer += tag(sealed_answer)
    head = struct.pack(">IHBBII", 0x53445201, 1, 2, 0, 9, 0)
    report = head + bytes(96) + bytes(56)
    filled = (struct.pack(">IHBBII", 0x53445201, 0, 0, 1, 9, 0) + b"".join(struct.pack(">Q", n) for n in range(12))
              + struct.pack(">HHQQQ", 5, 0, 1, 2, 3))
    direct = struct.pack(">III", 1000, 0, 0)
    put("stamp", "probe-plain", b"\x00" + plain)
    put("stamp", "probe-plain-tlvs", b"\x08" + plain + tlv(5, direct) + tlv(99, b"what") + tlv(1, bytes(8)))
    put("stamp", "probe-plain-cut", b"\x08" + plain + tlv(5, direct[:5]) + tlv(1, bytes(80))[:20])
    put("stamp", "probe-sealed", b"\x03" + sealed)
    put("stamp", "probe-sealed-report", b"\x03" + extended(sealed, seq, tlv(250, report)))
    put("stamp", "probe-sealed-direct", b"\x0b" + extended(sealed, seq, tlv(5, direct)) + tlv(1, b"\xa5" * 4))
    put("stamp", "probe-sealed-bad-tlv", b"\x05" + extended(sealed, b"none", tlv(250, report)))
    put("stamp", "answer-plain", b"\x00" + answer)
    put("stamp", "answer-sealed", b"\x01" + sealed_answer)
    put("stamp", "answer-sealed-report", b"\x03" + extended(sealed_answer, seq, tlv(250, filled, 0)))
    put("stamp", "answer-sealed-unknown", b"\x03" + extended(sealed_answer, seq, tlv(250, report)))
    put("stamp", "report-alone", b"\x00" + tlv(250, filled, 0))


def tunnel():
    def header(flags, path, seq, inner=b""):
        return struct.pack(">BBBBHHQQ", 1, flags, path, 0, 7, 2, seq, 1500000) + bytes(range(8)) + inner

    inner = bytes.fromhex("4500001c000040004001f97dc0a80001c0a800020800f7ff00000000")
    put("tunnel", "copy", header(3, 1, 1716811200 * 10**9, inner))
    put("tunnel", "control", header(0x81, 0, 2**64 - 1))
    put("tunnel", "bad-subset", header(0, 0, 1))
    put("tunnel", "bad-path", header(2, 0, 1))
    put("tunnel", "cut", header(1, 0, 1)[:20])


def trace():
    head = b"t_ms,path,rtt_ms,loss,rate_kbps\n"
    rows = head + b"0,lte,25.5,0,\n0,sat,,,1e3\n200,lte,,1,\n200,sat,31,0,250.5\n"
    put("trace", "rows", b"\0" + rows)
    put("trace", "gzip", b"\0" + gzip.compress(rows, mtime=0))
    put("trace", "gzip-twice", b"\0" + gzip.compress(head, mtime=0) + gzip.compress(rows[len(head):], mtime=0))
    put("trace", "gzip-cut", b"\0" + gzip.compress(rows, mtime=0)[:-9])
    put("trace", "quoted", b'\0"t_ms",path,loss,"rtt_ms",rate_kbps\r\n0,"a""b",0,1,\r\n')
    put("trace", "extra-column", b"\0" + head[:-1] + b",snr\n0,a,1,0,,3\n")
    put("trace", "back", b"\0" + head + b"5,a,1,0,\n4,a,1,0,\n")
    put("trace", "nan", b"\0" + head + b"5,a,nan,0,\n")
    put("trace", "index", b'\1trace,family,step_ms,need_kbps,note\none,svc,1000,5000,"a, b"\ntwo,pam,200,,\n')
    put("trace", "index-bad-name", b"\1trace,step_ms,need_kbps\n../x,1,\n")


def config():
    path = "{name: %s, device: %s, local: 192.0.2.%d, remote: %s}"
    tunnel_ = ("tunnels:\n- {name: t, peer: b, address: 10.9.0.1/30, key_file: '/k', paths: ["
               + path % ("f", "e0", 1, "198.51.100.1") + ", " + path % ("l", "w0", 2, "learn") + "]}\n")
    put("config", "tunnel", ("site: a\n" + tunnel_).encode())
    put("config", "class", b"site: a\nprofiles:\n- {name: v, latency: 80ms, loss: 0.5%, weight: {loss: 4}}\nclasses:\n"
        b"- name: c\n  profile: v\n  match: {prefix: [10.0.0.0/8], protocol: udp, ports: [5060, 1-2], dscp: ef}\n"
        b"  mirror: always\n  mirror_budget: 5%\n")
    put("config", "policy", b"site: a\nuser: x\nstore: {path: \"/a\\x20b\", size: 5MB}\npolicy: &p {hold: 3s, copies: 3}\n")
    put("config", "anchors", b"site: &s a\nuser: *s\nprofiles: [&v {name: v}]\n")


def block():
    def zigzag(v):
        v = (v << 1) ^ (v >> 63)
        out = bytearray()
        while v >= 0x80:
            out.append(v & 0x7F | 0x80)
            v >>= 7
        return bytes(out + bytes([v]))

    def sealed(data):
        return data + struct.pack(">I", zlib.crc32(b"x\0" + data))

    head = struct.pack(">BBBHq", 1, 3, 1, 4, 1700000000 * 10**9)
    put("block", "decimal", sealed(head + zigzag(1) + zigzag(0) + zigzag(1) + b"".join(map(zigzag, (200, 1, -3, 0)))))
    head = struct.pack(">BBBHq", 1, 0, 255, 3, 5)
    nan = struct.pack(">d", float("nan"))[:2]
    put("block", "bits", sealed(head + zigzag(10**9) + zigzag(-5) + b"\x02" + nan + b"\x80" + b"\x01\x80"))
    put("block", "points", struct.pack("<qdqd", 1, 0.1, 2, 1e300))


def hands():
    def name(text):
        return text.encode().ljust(32, b"\0")

    def request(op, *fields):
        return struct.pack("<IQ", op, 7) + b"".join(fields)

    # numbers of operations are their places in DOG_HANDS_OPS, from 1
    put("hands", "tc_attach", request(17, name("front"), name("eth0.100"), struct.pack("<III", 1, 1, 2)))
    put("hands", "tc_detach", request(18, name("front"), name("eth0"), struct.pack("<III", 0, 0, 0)))
    put("hands", "socket_frames", request(19, name("eth1")))
    put("hands", "socket_ping", request(20, name("eth1"), struct.pack("<I", 6)))
    put("hands", "helper_start", request(21, name("feeds")))


def agent():
    def mode(kind, to_agent=False):
        return bytes([1 | (2 if to_agent else 0) | (kind - 1) << 2])

    def flow(v6):
        local, remote = (bytes([0xfd]) + bytes(14) + b"\1", bytes([0xfd]) + bytes(14) + b"\2") if v6 else (
            bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]))
        return struct.pack(">HH", 80, 40000) + local + remote

    def conn(v6, closed=0):
        return bytes([v6 | closed << 1, 1]) + flow(v6) + struct.pack(">IQQIII", 500, 1 << 40, 1000, 200, 3, 9)

    echo = struct.pack(">QQQ", 1700000000 * 10**9 - 10**7, 10**6, 4)
    vitals = b"".join(bytes([n]) + struct.pack(">d", v) for n, v in ((0, .5), (3, 2.0), (25, float("inf")), (200, 1.0)))
    put("agent", "report", mode(1) + struct.pack(">IHI", 1000, 4, 2) + echo + b"\4" + vitals)
    put("agent", "conns", mode(2) + struct.pack(">IH", 7, 3) + conn(0) + conn(1) + conn(0, 1))
    put("agent", "answer", mode(3, True) + echo + b"\1\2" + struct.pack(">IId", 2000, 50, .75))
    put("agent", "status", mode(4, True) + struct.pack(">H", 2) + b"\0\2" + flow(0) + b"\1\3" + flow(1))
    put("agent", "wrong-way", mode(3) + echo + b"\1\2" + struct.pack(">IId", 2000, 50, .75))
    put("agent", "unsealed", b"\0SDA1\1\0\0\0" + struct.pack(">QQQ", 1, 1, 1700000000 * 10**9) + b"web1".ljust(32, b"\0")
        + bytes(20))


def exporter():
    body = (b'# TYPE node_cpu_seconds_total counter\nnode_cpu_seconds_total{cpu="0",mode="idle"} 10\n'
            b'node_cpu_seconds_total{cpu="0",mode="user"} 7.5e0\nnode_load1 0.5\n'
            b'node_filesystem_size_bytes{fstype="ext4",mountpoint="/"} 100\n'
            b'node_filesystem_avail_bytes{fstype="ext4",mountpoint="/"} 40 1395066363000\n'
            b'node_network_receive_bytes_total{device="eth0"} 1e9\nx{a="\\\\\\"\\n",} +Inf\n')
    put("exporter", "answer", b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    put("exporter", "metrics", body)
    put("exporter", "redirect", b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n")
    put("exporter", "open-quote", b'a{b="c} 1\n')


def agent_host():
    put("agent_host", "stat", b"\0cpu  5 1 2 3 4 5 6 7 8 9\ncpu0 1 2\n")
    put("agent_host", "diskstats", b"\3 254 0 vda 1 2 3 4 5 6 7 8 9 10 11\n")
    put("agent_host", "net-dev", b"\4  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13\n")
    put("agent_host", "pressure", b"\6some avg10=1.50 avg60=0 total=77\n")
    put("agent_host", "mib", b"\6Tcp: A OutSegs\nTcp: 1 2\n")
    put("agent_host", "mounts", b"\0061 2 0:1 / /a\\040b rw - ext4 /dev/x rw\n")
    put("agent_host", "config", b"\7name: a\nfronts: [10.0.0.1, '[fd00::1]:9']\nports: [80]\nperiod: 2s\nrate: 9\n")


def siphash(k0, k1, blocks):
    """SipHash-2-4 of 64-bit numbers."""
    full = 2**64 - 1
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def turn(x, n):
        return (x << n | x >> 64 - n) & full

    def mix():
        v[0] = v[0] + v[1] & full
        v[1] = turn(v[1], 13) ^ v[0]
        v[0] = turn(v[0], 32)
        v[2] = v[2] + v[3] & full
        v[3] = turn(v[3], 16) ^ v[2]
        v[0] = v[0] + v[3] & full
        v[3] = turn(v[3], 21) ^ v[0]
        v[2] = v[2] + v[1] & full
        v[1] = turn(v[1], 17) ^ v[2]
        v[2] = turn(v[2], 32)

    for block in blocks:
        v[3] ^= block
        mix()
        mix()
        v[0] ^= block
    v[2] ^= 0xFF
    for _ in range(4):
        mix()
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def model():
    def text(t):
        return bytes([len(t)]) + t.encode()

    def node(slot, above, mean):
        return struct.pack(">Hff", slot, above, mean)

    def names_hash(*names):
        blocks = [len(names)]
        for n in names:
            blocks.append(len(n))
            blocks += [int.from_bytes(n.encode()[i:i + 8], "little") for i in range(0, len(n), 8)]
        return siphash(int.from_bytes(b"sundog t", "big"), ~int.from_bytes(b"ables\0\0\1", "big") & 2**64 - 1, blocks)

    def sealed(body):
        data = b"SUNDOGM\n" + struct.pack(">IQ", 1, 20 + len(body) + 8) + body
        whole, rest = len(data) // 8 * 8, data[len(data) // 8 * 8:]
        blocks = [int.from_bytes(data[i:i + 8], "big") for i in range(0, whole, 8)]
        blocks.append((len(data) << 56 & 2**64 - 1) | int.from_bytes(rest, "little"))
        return data + struct.pack(">Q", siphash(int.from_bytes(b"sundog m", "big"), int.from_bytes(b"odelfile", "big"), blocks))

    leaves = struct.pack(">ff", -.5, .25)
    trees = struct.pack(">HHIBfIBf", 2, 2, 2, 1, -1.5, 1, 2, .5)
    trees += node(0, .5, 0) + leaves + node(3, float("inf"), 0) + leaves
    trees += node(1, -1, .1) + node(2, 3e38, .1) + node(0, 0, .1) + leaves + leaves
    about = struct.pack(">Bq", 0, 1700000000 * 10**9) + text("paths") + struct.pack(">QQQ", 7, 100, names_hash("a", "loss 1s"))
    named = struct.pack(">H", 2) + text("a") + text("loss 1s")
    named += struct.pack(">H", 2) + text("bad 1s") + struct.pack(">QQ", 90, 4) + text("next") + struct.pack(">QQ", 100, 0)
    scores = struct.pack(">H", 1) + text("auroc") + struct.pack(">d", .9)
    sections = struct.pack(">H", 2) + text("scales") + struct.pack(">I", 3) + b"abc"
    sections += text("trees") + struct.pack(">I", len(trees)) + trees
    put("model", "file", b"\0" + sealed(about + named + scores + sections))
    put("model", "file-without-trees", b"\0" + sealed(about + named + scores + struct.pack(">H", 0)))
    put("model", "trees", b"\1" + trees)
    put("model", "trees-none", b"\1" + struct.pack(">HHIBf", 1, 1, 0, 1, 0))
    one = struct.pack(">HHIBf", 1, 1, 1, 1, 0) + node(0, 3.5, 0) + leaves
    head = struct.pack(">IQQQIIIIQ", 0x53444754, 0, 0, len(one), 0, 1, 1, 1, 0x7FF8000000000000)
    put("model", "state", b"\2" + head + one + bytes(8))
    state = head + one + bytes(8)
    begun = b"SUNDOGP\n" + struct.pack(">IQ", 2, 42)
    put("model", "part", b"\3" + begun + struct.pack(">II", 1, len(one)) + one + struct.pack(">I", 0) + bytes(8))
    put("model", "part-nothing", b"\3" + begun + struct.pack(">II", 0, 0) + bytes(8))
    put("model", "part-at-work", b"\3" + begun + struct.pack(">III", 1, 0, len(state)) + state + bytes(8))
    iso = struct.pack(">Bffff", 2, -2, -1.5, 1, 1)
    expert = b"".join(struct.pack(">bf", g, .7) + (iso if g else b"\0") for g in (0, -1, 2, 3))
    put("model", "path-ping", b"\4" + bytes([1, 0, 1]) + expert + b"\1" + iso + bytes(2))
    put("model", "path-both", b"\4" + bytes([1, 0, 1]) + expert + b"\0" + b"\1" + expert + b"\0")


stamp()
model()
agent()
exporter()
agent_host()
tunnel()
trace()
config()
block()
hands()
