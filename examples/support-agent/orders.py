"""An order service that is not always there, on loopback. Python's standard library, so that there is
nothing to build. Order 7 answers at the third try, order 8 never."""
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

tries = {}


class Orders(BaseHTTPRequestHandler):
    def do_GET(self):
        tries[self.path] = tries.get(self.path, 0) + 1
        if self.path == "/orders/7" and tries[self.path] == 1:
            self.say(429, "too many requests", {"Retry-After": "1"})
        elif self.path == "/orders/7" and tries[self.path] > 2:
            self.say(200, "order 7: shipped on Monday")
        else:
            self.say(503, "down")

    def say(self, status, text, headers=None):
        self.send_response(status)
        for name, value in {"Content-Type": "text/plain", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8642), Orders)
print(f"orders at http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
