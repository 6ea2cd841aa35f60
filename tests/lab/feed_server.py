#!/usr/bin/env python3
"""A server of feeds, good and bad ones: feed_server.py FOLDER PORT [CERTIFICATE KEY]

Files of FOLDER with ETags, and what a feed may meet: see the names in `Handler`. Says "ready" when it serves.
"""
import hashlib
import http.server
import os
import ssl
import sys
import threading
import time

FOLDER, PORT = sys.argv[1], int(sys.argv[2])
asked = {}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def say(self, status, body=b"", **head):
        self.send_response(status)
        for name, value in head.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def hang(self):
        time.sleep(3600)

    def trickle(self):
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(b"B")
            self.wfile.flush()
            time.sleep(0.2)

    def big(self):
        """100 MB, with no word of it before."""
        self.send_response(200)
        self.send_header("Content-Type", "text/calendar")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"BEGIN:VCALENDAR\r\n")
        for _ in range(100):
            self.wfile.write(b"X" * (1 << 20))

    def announced(self):
        self.send_response(200)
        self.send_header("Content-Length", str(100 << 20))
        self.end_headers()
        self.wfile.write(b"X" * (1 << 20))

    def circle(self):
        self.say(302, Location="/circle")

    def away(self):
        self.say(302, Location="file:///etc/passwd")

    def page(self):
        self.say(200, b"<html>log in first</html>", Content_Type="text/html")

    def ill(self):
        self.say(503, Retry_After="7")

    def garbage(self):
        self.say(200, os.urandom(5000), Content_Type="text/calendar")

    def do_GET(self):
        name = self.path.strip("/").split("?")[0]
        asked[name] = asked.get(name, 0) + 1
        with open(os.path.join(FOLDER, "asked"), "w") as f:
            f.write("".join("%s %d %s\n" % (k, n, self.headers.get("User-Agent")) for k, n in asked.items()))
        try:
            if hasattr(self, name) and not name.startswith(("do_", "_")) and not os.path.exists(
                    os.path.join(FOLDER, name)):
                getattr(self, name)()
                return
            with open(os.path.join(FOLDER, os.path.basename(name)), "rb") as f:
                body = f.read()
            tag = '"%s"' % hashlib.sha256(body).hexdigest()[:16]
            if self.headers.get("If-None-Match") == tag:
                self.say(304, ETag=tag)
            else:
                self.say(200, body, ETag=tag,
                         Content_Type="text/calendar" if name.endswith(".ics") else "application/json")
        except FileNotFoundError:
            self.say(404)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, *_):
        pass


server = Server(("127.0.0.1", PORT), Handler)
if len(sys.argv) > 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3], sys.argv[4])
    server.socket = context.wrap_socket(server.socket, server_side=True)
print("ready", flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
server.serve_forever()
