"""A service that says goodbye when it is told to, and what a proxy doesn't know."""
import signal

import drains
import harness
from harness import Haproxy, boot_now, phase_of, wait_until
from web_socket import TEXT, WebSocket


class Goodbye(drains.DrainTest):
    def serve_polite(self):
        self.start_agent(AGENT_DRAIN_SIGNAL="USR1")
        self.serve("--goodbye-on", "USR1")

    def goodbye(self):
        """When the service was told."""
        return self.service.signalled(signal.SIGUSR1)

    def test_keep_alive_clients_leave_with_their_next_answer(self):
        self.serve_polite()
        clients = [self.client() for _ in range(3)]
        for client in clients:
            self.assertEqual(client.get("/"), 200)
            self.assertFalse(client.closed())
        self.begin_stop()
        wait_until(self.goodbye, "the service to be told")
        self.assert_drains_on(0.8)
        for client in clients:
            client.send("/")
            answer = harness.http.client.HTTPResponse(client.socket)
            answer.begin()
            self.assertEqual((answer.status, answer.getheader("Connection"), answer.read()), (200, "close", b"ok\n"))
            wait_until(client.closed, "the service to close the connection")
        closed = boot_now()
        record, drain = self.end_stop()
        self.assertEqual((drain["outcome"], drain["detail"]["connectionsPeak"]), ("completed", 3))
        self.assert_signalled(closed, self.settle - 0.01)
        self.assertGreater(record["savedMs"], 10000)

    def test_web_sockets_get_a_close_frame(self):
        self.serve_polite()
        sockets = [WebSocket(self.port) for _ in range(3)]
        for number, each in enumerate(sockets):
            self.addCleanup(each.close)
            self.assertEqual(each.echo(f"hello {number}"), (TEXT, f"hello {number}".encode()))
        self.begin_stop()
        self.assertEqual([each.leave_when_told() for each in sockets], [1001] * 3)
        closed = boot_now()
        _, drain = self.end_stop()
        self.assertEqual((drain["outcome"], drain["detail"]["connectionsPeak"]), ("completed", 3))
        self.assert_signalled(closed, self.settle - 0.01)

    def test_it_is_told_after_deregister_and_once(self):
        self.serve_polite()
        self.wait_registered()
        self.begin_stop()
        record, _ = self.end_stop()
        told = [each["boot"] / 1e6 for each in self.service.events("signal") if each["signal"] == signal.SIGUSR1]
        self.assertEqual(len(told), 1)
        deregister = phase_of(record, "DEREGISTER")
        deregistered = harness.boot_of(deregister["startedAt"]) + deregister["durationMs"] / 1000
        self.assertGreaterEqual(told[0], deregistered - 0.005)  # two clocks and a rounding
        self.assertLess(told[0], self.service.signalled())

    def test_a_silent_web_socket_is_waited_for_without_it(self):
        self.start_agent()
        self.serve()
        client = WebSocket(self.port)
        self.addCleanup(client.close)
        self.begin_stop()
        self.assert_drains_on(1.2)
        self.assertEqual(client.echo("still here"), (TEXT, b"still here"))
        client.close()
        closed = boot_now()
        self.end_stop()
        self.assert_signalled(closed, self.settle)


class BehindHaproxy(drains.DrainTest):
    def serve_behind(self, drain, mode="http", backend=()):
        """A task that is named like the mode of its drain, behind an HAProxy of its own."""
        self.port, self.service = harness.free_port(), self.journal(drain)
        self.haproxy = Haproxy(self, {"web": self.port}, mode=mode, backend=backend)
        self.addCleanup(self.haproxy.process.kill)
        self.agent.run(drain, *self.obedient(self.port, journal=self.service),
                       load_balancers=[self.haproxy.url("web", drain=drain)])
        self.haproxy.wait_ready("web")

    def test_strict_waits_for_what_the_proxy_holds_and_doesnt_count(self):
        self.start_agent()
        for mode, waits in (("strict", True), ("closed", False)):
            with self.subTest(mode):
                self.serve_behind(mode, backend=["http-reuse never"])
                client = self.client(self.haproxy.port)
                self.assertEqual(client.get("/"), 200)
                asked = boot_now()
                # The proxy's word is "nobody": the connection is idle, and this one client's.
                self.assertEqual(self.haproxy.server("web")["scur"], 0)
                self.begin_stop(mode)
                if waits:
                    self.assert_drains_on(1.2)
                    client.close()
                    asked = boot_now()
                _, drain = self.end_stop()
                self.assertEqual(drain["outcome"], "completed")
                self.assert_signalled(asked, 0, 0.5)
                self.assertEqual(drain["detail"]["connectionsAtStart"], 1)
                self.haproxy.process.kill()

    def test_tcp_mode_ends_with_the_last_session(self):
        self.start_agent()
        for mode in ("closed", "strict"):
            with self.subTest(mode):
                self.serve_behind(mode, mode="tcp")
                clients = [self.client(self.haproxy.port) for _ in range(4)]
                self.assertEqual([client.get("/") for client in clients], [200] * 4)
                self.begin_stop(mode)
                for client in clients[1:]:
                    client.close()
                self.assert_drains_on(1.2)
                self.assertEqual(clients[0].get("/"), 200)
                clients[0].close()
                closed = boot_now()
                _, drain = self.end_stop()
                self.assertEqual((drain["outcome"], drain["detail"]["connectionsPeak"]), ("completed", 4))
                self.assert_signalled(closed, 0, 0.5)
                self.haproxy.process.kill()

    def test_a_web_socket_through_the_proxy(self):
        self.start_agent()
        self.serve_behind("closed")
        client = WebSocket(self.haproxy.port)
        self.addCleanup(client.close)
        self.assertEqual(client.echo("hello"), (TEXT, b"hello"))
        self.begin_stop("closed")
        self.assert_drains_on(1.2)
        self.assertEqual(client.echo("still here"), (TEXT, b"still here"))
        client.close()
        closed = boot_now()
        _, drain = self.end_stop()
        self.assertEqual(drain["outcome"], "completed")
        self.assert_signalled(closed, 0, 0.5)


if __name__ == "__main__":
    harness.main()
