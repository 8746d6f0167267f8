"""A WebSocket client (RFC 6455) that is written out, to know what the server really sent."""
import base64
import hashlib
import http.client
import os
import socket
import struct

TEXT, CLOSE = 1, 8


class WebSocket:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(f"GET /ws HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        self.stream = self.socket.makefile("rb")
        status = self.stream.readline().split()[1]
        headers = http.client.parse_headers(self.stream)
        digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        if status != b"101" or headers["Sec-WebSocket-Accept"] != base64.b64encode(digest).decode():
            raise AssertionError(f"no upgrade: {status} {headers}")

    def send(self, kind, payload):
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        self.socket.sendall(bytes([0x80 | kind, 0x80 | len(payload)]) + mask + masked)

    def receive(self):
        """The next frame's kind and payload; None when the connection has ended."""
        head = self.stream.read(2)
        if len(head) < 2:
            return None
        return head[0] & 0x0F, self.stream.read(head[1] & 0x7F)

    def echo(self, text):
        self.send(TEXT, text.encode())
        return self.receive()

    def leave_when_told(self):
        """Waits for the server's close frame, answers it, and returns its status code."""
        kind, payload = self.receive()
        if kind != CLOSE:
            raise AssertionError(f"no close frame, but {kind}: {payload}")
        self.send(CLOSE, payload[:2])
        if self.receive() is not None:
            raise AssertionError("something came behind the close frame")
        self.close()
        return struct.unpack("!H", payload[:2])[0]

    def close(self):
        self.stream.close()
        self.socket.close()
