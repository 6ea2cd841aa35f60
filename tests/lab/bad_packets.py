#!/usr/bin/env python3
"""Packets that nobody should send, bounded in number and time, from raw sockets of a namespace.

    bad_packets.py KIND --to 10.80.9.1 --port 80 [--count 20000] [--from 10.80.0.2] [--ports 1100-65000]

    syn        connections that are never finished, from random addresses of 10.99.0.0/16
    scan       a SYN to every port of the address, from one's own
    reset      RST in the name of --from, for every port of --ports, with guessed sequence numbers
    data       the same with segments of data
    fragment   TCP in fragments: first ones, later ones, tiny ones
    options    SYN with IP options: record route, loose source route, nonsense
    short      headers that promise more than there is
    icmp       "fragmentation needed" and "unreachable" that quote connections which nobody has, or garbage
    land       the address talking to itself

Prints "sent N". IPv4.
"""
import argparse
import random
import socket
import struct
import sys
import time

SYN, RST, ACK, PSH = 2, 4, 16, 8


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ip(source, to, payload, proto=6, options=b"", fragment=0, length=None):
    options += b"\0" * (-len(options) % 4)
    ihl = 5 + len(options) // 4
    total = ihl * 4 + len(payload) if length is None else length
    # The kernel fills in the checksum of the header, and the length unless it is told to leave it.
    return struct.pack("!BBHHHBBH4s4s", 0x40 | ihl, 0, total, random.getrandbits(16), fragment, 64, proto, 0,
                       source, to) + options + payload


def tcp(source, to, sport, dport, flags, seq=None, ack=0, body=b"", offset=5):
    seq = random.getrandbits(32) if seq is None else seq
    head = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, offset << 4, flags, 64240, 0, 0)
    pseudo = source + to + struct.pack("!BBH", 0, 6, len(head) + len(body))
    sum_ = checksum(pseudo + head + body)
    return head[:16] + struct.pack("!H", sum_) + head[18:] + body


def stranger():
    return bytes((10, 99, random.randrange(256), random.randrange(1, 255)))


def syn(o):
    for _ in range(o.count):
        s = stranger()
        yield ip(s, o.to, tcp(s, o.to, random.randrange(1024, 65536), o.port, SYN))


def scan(o):
    for port in range(1, min(65536, o.count + 1)):
        yield ip(o.source, o.to, tcp(o.source, o.to, 40000, port, SYN))


def guesses(o, flags, body):
    ports = list(range(o.ports[0], o.ports[1] + 1))
    for n in range(o.count):
        seq = random.getrandbits(32)
        yield ip(o.source, o.to, tcp(o.source, o.to, ports[n % len(ports)], o.port, flags, seq, random.getrandbits(32), body))


def reset(o):
    return guesses(o, RST, b"")


def data(o):
    return guesses(o, ACK | PSH, b"forged" * 20)


def fragment(o):
    for n in range(o.count):
        s = stranger()
        whole = tcp(s, o.to, random.randrange(1024, 65536), o.port, ACK, body=bytes(64))
        yield (ip(s, o.to, whole[:40], fragment=0x2000), ip(s, o.to, whole[40:], fragment=5),
               ip(s, o.to, whole[:8], fragment=0x2000), ip(s, o.to, whole[8:24], fragment=0x2001))[n % 4]


def options(o):
    kinds = (b"\x07\x0b\x04" + bytes(8), b"\x83\x07\x04" + o.to, b"\x44\x0c\x05\0" + bytes(8), b"\xff\xff\xff\xff", b"\x01" * 40)
    for n in range(o.count):
        s = stranger()
        yield ip(s, o.to, tcp(s, o.to, random.randrange(1024, 65536), o.port, SYN), options=kinds[n % len(kinds)])


def short(o):
    for n in range(o.count):
        s = stranger()
        whole = tcp(s, o.to, random.randrange(1024, 65536), o.port, SYN, offset=(15, 3, 0, 5)[n % 4])
        yield ip(s, o.to, whole[:(20, 20, 20, 1 + n % 19)[n % 4]])


def icmp(o):
    for n in range(o.count):
        s = stranger()
        sport = random.randrange(1024, 65536)
        # What the server would have sent to a client, or garbage.
        quoted = ip(o.to, o.source, tcp(o.to, o.source, o.port, sport, ACK)[:8]) if n % 3 else bytes(random.randrange(1, 28))
        kind, code = ((3, 4), (3, 1), (3, 3), (11, 0))[n % 4]
        rest = struct.pack("!HH", 0, random.choice((68, 576, 1280, 65535)))
        yield ip(s, o.to, struct.pack("!BBH", kind, code, checksum(struct.pack("!BBH", kind, code, 0) + rest + quoted)) +
                 rest + quoted, proto=1)


def land(o):
    for _ in range(o.count):
        yield ip(o.to, o.to, tcp(o.to, o.to, o.port, o.port, SYN))


KINDS = {f.__name__: f for f in (syn, scan, reset, data, fragment, options, short, icmp, land)}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("kind", choices=sorted(KINDS))
    p.add_argument("--to", required=True, type=socket.inet_aton)
    p.add_argument("--source", "--from", default="10.80.0.2", type=socket.inet_aton)
    p.add_argument("--port", type=int, default=80)
    p.add_argument("--ports", default="1100-65000", type=lambda t: tuple(int(x) for x in t.split("-")))
    p.add_argument("--count", type=int, default=20000)
    p.add_argument("--seconds", type=float, default=10, help="stop after these, however many were sent")
    p.add_argument("--seed", type=int, default=1)
    o = p.parse_args()
    random.seed(o.seed)
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    to = (socket.inet_ntoa(o.to), 0)
    sent, until = 0, time.monotonic() + o.seconds
    for packet in KINDS[o.kind](o):
        if time.monotonic() > until:
            break
        try:
            s.sendto(packet, to)
            sent += 1
        except OSError:  # the kernel refuses some of them itself
            pass
    print("sent", sent)
    return 0 if sent else 1


if __name__ == "__main__":
    sys.exit(main())
