"""A recording relay between the SDK and the server: it counts requests and keeps every answer."""

import http.client
import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# Headers that belong to one connection only. Nothing is added: a server in development mode refuses forwarded requests.
CONNECTION_HEADERS = {"connection", "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding"}


@dataclass(frozen=True)
class Exchange:
    """One request and its answer."""

    method: str
    target: str
    request_headers: dict[str, str]
    request_body: bytes
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def path(self):
        """The path without the query and without the optional prefix of the admin API."""
        return urlsplit(self.target).path.removeprefix("/api/v1")

    def json(self):
        """The answer's body, decoded."""
        return json.loads(self.body)

    def sent(self):
        """The request's JSON object, empty when the body is anything else."""
        try:
            body = json.loads(self.request_body)
        except (ValueError, RecursionError):
            return {}
        return body if isinstance(body, dict) else {}

    def __repr__(self):
        return f"{self.method} {self.target} -> {self.status} {self.body[:400]!r}"


class Traffic:
    """Relays every request to one server and remembers what went through."""

    def __init__(self, upstream):
        self.upstream = urlsplit(upstream)
        self.exchanges = []
        self._lock = threading.Lock()
        relay = type("Relay", (_Relay,), {"traffic": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), relay)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        """Stop relaying."""
        self._server.shutdown()
        self._server.server_close()

    def keep(self, exchange):
        """Remember one exchange."""
        with self._lock:
            self.exchanges.append(exchange)

    def mark(self):
        """A point in time to count from."""
        with self._lock:
            return len(self.exchanges)

    def since(self, mark):
        """Everything that went through since `mark`."""
        with self._lock:
            return self.exchanges[mark:]

    def last(self):
        """The newest exchange."""
        with self._lock:
            return self.exchanges[-1]


class _Relay(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    traffic: Traffic

    def relay(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        upstream = http.client.HTTPConnection(self.traffic.upstream.hostname, self.traffic.upstream.port, timeout=60)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            upstream.putheader("Host", self.traffic.upstream.netloc)
            for name, value in self.headers.items():
                if name.lower() not in CONNECTION_HEADERS | {"accept-encoding"}:
                    upstream.putheader(name, value)
            upstream.endheaders(body or None)
            answer = upstream.getresponse()
            self.answer(body, answer, answer.read())
        finally:
            upstream.close()

    def answer(self, request_body, answer, body):
        headers = {name.lower(): value for name, value in answer.getheaders()}
        request_headers = {name.lower(): value for name, value in self.headers.items()}
        self.traffic.keep(
            Exchange(self.command, self.path, request_headers, request_body, answer.status, headers, body)
        )
        self.log_request = lambda *_: None
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in CONNECTION_HEADERS | {"content-length"}:
                self.send_header(name, value)
        if answer.status != 304:
            self.send_header("Content-Length", str(len(body)))
        self._headers_buffer.append(b"\r\n" + body)
        self.flush_headers()

    def log_message(self, *_):
        """Stay silent."""

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = relay
