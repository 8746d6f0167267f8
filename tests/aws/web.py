"""HTTP for all of the stand-in's servers, with every way to answer badly."""
import dataclasses
import email.utils
import http.server
import json
import socket
import ssl
import struct
import threading

from .sigv4 import Request

RESET = struct.pack("ii", 1, 0)


@dataclasses.dataclass
class Reply:
    status: int
    body: bytes = b""
    kind: str = "text/xml"
    headers: dict = dataclasses.field(default_factory=dict)

    @classmethod
    def json(cls, status, value):
        return cls(status, json.dumps(value).encode(), "application/json")

    @classmethod
    def text(cls, status, text="", **headers):
        return cls(status, text.encode(), "text/plain", headers)


class Web:
    """One port on a numeric address. `answer(request, closed)` makes a `Reply`, or a function that is
    handed the connection to do worse.

    `closed` is an Event that ends every wait. `stop` closes listener and connections; `start` opens the
    same port again.
    """

    def __init__(self, answer, wall, address="127.0.0.1", port=0, tls=None):
        self.answer, self.wall, self.address, self.port, self.tls = answer, wall, address, port, tls
        self.accepted = 0
        self.server = None
        self.start()

    @property
    def url(self):
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    def start(self):
        self.closed, self.connections = threading.Event(), set()
        self.server = _Server(self)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True, name="aws web")
        self.thread.start()

    def stop(self):
        if self.server is None:
            return
        self.closed.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.server = None


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads, block_on_close, request_queue_size = True, False, 512

    def __init__(self, web):
        self.web = web
        if ":" in web.address:
            self.address_family = socket.AF_INET6
        super().__init__((web.address, web.port), _Handler)

    def process_request_thread(self, connection, address):
        web = self.web
        web.accepted += 1
        try:
            if web.tls:     # in the connection's own thread: a client that says nothing holds up nobody
                connection.settimeout(10)
                connection = web.tls.wrap_socket(connection, server_side=True)
                connection.settimeout(None)
        except (OSError, ssl.SSLError):     # the client didn't like the certificate
            return self.shutdown_request(connection)
        web.connections.add(connection)
        try:
            super().process_request_thread(connection, address)
        finally:
            web.connections.discard(connection)

    def handle_error(self, connection, address):
        pass    # a client that went away: the tests look at the calls


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_version, sys_version = "Server", ""

    def _do(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        path, _, query = self.path.partition("?")
        request = Request(self.command, _text(path), _text(query),
                          [(name, _text(value)) for name, value in self.headers.items()], body)
        reply = self.server.web.answer(request, self.server.web.closed)
        if callable(reply):
            self.close_connection = True
            reply(Wire(self))
        else:
            self.connection.sendall(self.encoded(reply))

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _do

    def encoded(self, reply, length=True):
        facts = {"Date": email.utils.formatdate(self.server.web.wall(), usegmt=True), "Content-Type": reply.kind,
                 **reply.headers}
        if length:
            facts["Content-Length"] = len(reply.body)
        if self.close_connection:
            facts["Connection"] = "close"
        phrase = self.responses.get(reply.status, ("", ""))[0]
        lines = [f"HTTP/1.1 {reply.status} {phrase}", *(f"{name}: {value}" for name, value in facts.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if self.command == "HEAD" else reply.body)

    def log_message(self, *_):
        pass


class Wire:
    """The connection of one request, for an answer that HTTP doesn't allow."""

    def __init__(self, handler):
        self.handler, self.connection = handler, handler.connection

    def cut(self, reply):
        """Announces all of the body and sends half."""
        whole = self.handler.encoded(reply)
        self.connection.sendall(whole[:len(whole) - len(reply.body) // 2 - 1])

    def flood(self, reply, size):
        """The body with `size` more bytes inside; its end is the connection's."""
        head, tail = reply.body[:-1].rsplit(b"\n", 1)
        self.connection.sendall(self.handler.encoded(Reply(reply.status, head + b"\n", reply.kind), length=False))
        block = b" " * 65535 + b"\n"
        for _ in range(0, size, len(block)):
            self.connection.sendall(block)
        self.connection.sendall(tail)

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.handler.rfile.close()
        self.connection.close()

    def hold(self, closed):
        """Says nothing until the other side goes away, or the server does."""
        self.connection.settimeout(0.1)
        while not closed.is_set():
            try:
                if not self.connection.recv(1):
                    return
            except TimeoutError:
                continue
            except OSError:
                return


def _text(latin):
    """http.server reads Latin-1; what was sent is UTF-8."""
    return latin.encode("latin-1").decode("utf-8", "replace")
