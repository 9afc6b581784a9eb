"""A service that knows people by their tokens, on loopback. Python's standard library: nothing to build."""
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

OWNERS = {"Bearer acme-ann-0001": "Ann of Acme", "Bearer acme-bob-0002": "Bob of Acme",
          "Bearer globex-ann-0003": "Ann of Globex"}


class Accounts(BaseHTTPRequestHandler):
    def do_GET(self):
        token = self.headers.get("Authorization", "no token")
        text = f"This is the account of {OWNERS.get(token, 'nobody')}; you sent {token}."
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8643), Accounts)
print(f"accounts at http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
