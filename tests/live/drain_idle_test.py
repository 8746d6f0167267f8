"""`AGENT_DRAIN=idle`: who is at rest, and who only looks like it."""
import http.client
import json
import socket
import time

import drains
import harness
from harness import boot_now, phase_of


class Idle(drains.DrainTest):
    """AGENT_DRAIN_IDLE is 1 s: no test's request would live long if it looked at rest."""

    def setUp(self):
        super().setUp()
        self.start_agent(drain="idle")

    def assert_waits_for(self, client, at_least, prepare=lambda client: None):
        """What `client` waits for now comes in `at_least` seconds; SIGTERM comes idle and settle later."""
        self.begin_stop()
        prepare(client)
        self.assertEqual(client.response(), 200)
        answered = boot_now()
        _, drain = self.end_stop()
        self.assertGreater(drain["durationMs"] / 1000, at_least)
        self.assertEqual(drain["outcome"], "completed")
        self.assert_signalled(answered, self.IDLE + self.settle - 0.01)
        return drain

    def test_a_request_being_worked_on_isnt_at_rest(self):
        self.serve()
        self.assert_waits_for(self.client().send("/delay/3000"), 2.5)

    def test_nor_one_that_came_right_behind_an_answer(self):
        """In one tick of the kernel's clock, mostly; each behind a task of its own, so that none hides another."""
        waiting = {}
        for name, quick, probes in (("after-one", 1, False), ("after-two", 2, False), ("after-forty", 40, False),
                                    ("again", 1, False), ("once-more", 3, False), ("with-probes", 1, True)):
            self.serve(name=name)
            client = self.client()
            if probes:
                keep_probing(client)
            for _ in range(quick):
                self.assertEqual(client.get("/"), 200)
            waiting[name] = (client.send("/delay/3000"), self.service)
        self.agent.ctl("stop", "--all")
        for name, (client, service) in waiting.items():
            with self.subTest(name):
                self.assertEqual(client.response(), 200)
                answered = service.events("answer")[-1]["boot"] / 1e6
                self.assert_signalled(answered, self.IDLE + self.settle - 0.01, None, service)

    def test_nor_one_that_came_in_two_parts(self):
        self.serve()
        client = self.client()
        self.assertEqual(client.get("/"), 200)
        client.socket.sendall(b"GET / HTTP/1.1\r\n")

        def the_rest(client):
            self.assert_drains_on(2.5)
            client.socket.sendall(b"\r\n")
        self.assert_waits_for(client, 2.4, the_rest)

    def test_a_streaming_answer_isnt_at_rest(self):
        self.serve()
        self.assert_waits_for(self.client().send("/stream/2500"), 2)

    def test_nor_an_answer_that_the_client_hasnt_taken(self):
        self.serve()
        client = self.client().send(f"/bytes/{32 << 20}")
        self.assert_waits_for(client, 2.4, lambda client: self.assert_drains_on(2.5))

    def test_a_connection_that_never_asked_isnt_at_rest(self):
        self.serve()
        client = self.client()
        self.begin_stop()
        self.assert_drains_on(2)
        self.assertEqual(client.get("/"), 200)
        answered = boot_now()
        self.end_stop()
        self.assert_signalled(answered, self.IDLE + self.settle - 0.01)

    def test_a_request_on_a_connection_at_rest_starts_it_again(self):
        self.serve()
        client = self.client()
        self.assertEqual(client.get("/"), 200)
        self.begin_stop()
        self.assert_drains_on(0.6)
        self.assert_waits_for_more(client)

    def assert_waits_for_more(self, client):
        for _ in range(3):
            self.assertEqual(client.get("/"), 200)
            answered = boot_now()
            self.assert_drains_on(0.6)
        self.end_stop()
        self.assert_signalled(answered, self.IDLE + self.settle - 0.01)


class Resting(drains.DrainTest):
    """Connections that are at rest, however they came to it."""

    def one(self, client):
        client.get("/")

    def two_back_to_back(self, client):
        client.get("/"), client.get("/")

    def fifty(self, client):
        for _ in range(50):
            client.get("/")

    def spaced(self, client):
        for _ in range(5):
            client.get("/")
            time.sleep(0.3)  # the tick in which an answer stands is another one each time

    def slow_then_quick(self, client):
        client.get("/delay/500"), client.get("/")

    def quick_then_slow(self, client):
        client.get("/"), client.get("/delay/500")

    def acknowledged_at_once(self, client):
        """No segment tells later that the answer was the last word."""
        for path in ("/delay/300", "/", "/"):
            client.send(path)
            client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            client.response()

    def large(self, client):
        client.get(f"/bytes/{4 << 20}")

    def streamed(self, client):
        client.get("/stream/300")

    def pipelined(self, client):
        client.socket.sendall(b"GET /id/1 HTTP/1.1\r\n\r\nGET /id/2 HTTP/1.1\r\n\r\n")
        stream = client.socket.makefile("rb")
        whole_answer(stream), whole_answer(stream)

    WAYS = (one, two_back_to_back, fifty, spaced, slow_then_quick, quick_then_slow, acknowledged_at_once, large, streamed, pipelined)

    def test_they_hold_nothing(self):
        self.start_agent(drain="idle", delay=8)
        tasks = {}
        for way in self.WAYS:
            self.serve(name=way.__name__)
            client = self.client()
            way(self, client)
            tasks[way.__name__] = (self.service, boot_now())
        asked = boot_now()
        self.agent.ctl("stop", "--all", "--output", "json")
        for name, (service, answered) in tasks.items():
            with self.subTest(name):
                drain = phase_of(self.agent.stops(name)[0], "DRAIN")
                self.assertEqual(drain["outcome"], "completed", json.dumps(drain))
                # Who has rested for long enough when it begins is only settled for.
                self.assert_signalled(asked, self.settle, self.IDLE + self.settle, service)
                self.assert_signalled(answered, self.IDLE + self.settle - 0.01, 30, service)
                self.assertEqual(drain["detail"]["connectionsAtEnd"], 1)

    def test_rest_that_began_long_ago_needs_no_wait(self):
        self.start_agent(drain="idle")
        self.serve()
        client = self.client()
        self.assertEqual(client.get("/"), 200)
        time.sleep(self.IDLE + 0.2)
        self.begin_stop()
        _, drain = self.end_stop()
        self.assertLess(drain["durationMs"] / 1000, self.IDLE)

    def test_one_at_rest_beside_one_that_works(self):
        self.start_agent(drain="idle")
        self.serve()
        for _ in range(5):
            self.assertEqual(self.client().get("/"), 200)
        client = self.client().send("/delay/2500")
        self.begin_stop()
        self.assertEqual(client.response(), 200)
        answered = boot_now()
        self.end_stop()
        self.assert_signalled(answered, self.IDLE + self.settle - 0.01)

    def test_closed_waits_for_them_and_says_what_idle_would_have_saved(self):
        self.start_agent(drain="closed", delay=3)
        self.serve()
        client = self.client()
        self.assertEqual(client.get("/"), 200)
        rests = boot_now()
        self.begin_stop()
        record, drain = self.end_stop()
        self.assertEqual(drain["outcome"], "timed_out")
        rested = self.service.signalled() - rests
        self.assertAlmostEqual(drain["detail"]["atRestMs"] / 1000, rested, delta=0.25)
        self.assertAlmostEqual(drain["detail"]["idleWouldHaveSavedMs"] / 1000, rested - self.IDLE, delta=0.25)
        self.assertEqual(drain["detail"]["peers"], "127.0.0.1")
        self.assertIn("1 open connection", drain["detail"]["waitingFor"])
        self.assertAlmostEqual(record["savedMs"], 0, delta=50)


def keep_probing(client):
    """TCP keep-alive, as often as can be: segments that mean nothing."""
    for option, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1)):
        client.socket.setsockopt(socket.IPPROTO_TCP, option, value)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def whole_answer(stream):
    """The status of one answer out of a buffered stream."""
    status = int(stream.readline().split()[1])
    headers = http.client.parse_headers(stream)
    stream.read(int(headers["Content-Length"]))
    return status


if __name__ == "__main__":
    harness.main()
