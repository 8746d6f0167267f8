"""What the kernel tells while a task drains: who waits, who came late, who has gone, and when."""
import signal
import socket
import subprocess
import sys
import time

import drains
import harness
from harness import boot_now, wait_until

LATE_ACCEPTER = """
listener = listen(port, backlog=16)
asked()
serve(listener)
over()
"""
# Opens so many connections, one request each, and leaves all but so many of them at the end of input.
CROWD = """
import socket, sys
port, count, staying = (int(word) for word in sys.argv[1:])
clients = []
for _ in range(count):
    clients.append(socket.create_connection(("127.0.0.1", port)))
    clients[-1].sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
    clients[-1].recv(4096)
print("here", flush=True)
sys.stdin.readline()
for client in clients[staying:]:
    client.close()
print("gone", flush=True)
sys.stdin.readline()
"""


class Counted(drains.DrainTest):
    def test_who_waits_in_the_accept_queue_is_waited_for(self):
        self.start_agent()
        self.serve_script(LATE_ACCEPTER)
        quiet, asking = self.client(), self.client().send("/")
        self.begin_stop()
        self.assert_drains_on(1.5)
        self.signal_service()
        self.assertEqual((asking.response(), quiet.get("/")), (200, 200))
        asking.close()
        quiet.close()
        closed = boot_now()
        _, drain = self.end_stop()
        self.assertEqual((drain["outcome"], drain["detail"]["connectionsAtStart"]), ("completed", 2))
        self.assert_signalled(closed, self.settle)

    def test_under_idle_the_accept_queue_is_never_at_rest(self):
        self.start_agent(drain="idle")
        self.serve_script(LATE_ACCEPTER)
        quiet, asking = self.client(), self.client().send("/")
        self.begin_stop()
        self.assert_drains_on(2)
        self.signal_service()
        self.assertEqual((asking.response(), quiet.get("/")), (200, 200))
        answered = boot_now()
        self.end_stop()
        self.assert_signalled(answered, self.IDLE + self.settle)

    def test_a_half_closed_client_gets_its_answer(self):
        self.start_agent()
        for mode in ("closed", "idle", "strict"):
            with self.subTest(mode):
                self.serve(name=mode, flags=["--drain", mode])
                client = self.client().send("/delay/2000")
                client.socket.shutdown(socket.SHUT_WR)
                self.begin_stop(mode)
                self.assertEqual(client.response(), 200)
                answered = boot_now()
                self.end_stop()
                self.assert_signalled(answered, self.settle)

    def test_time_wait_holds_nothing(self):
        self.start_agent()
        self.serve_script("""
listener = listen(port)
for _ in range(20):
    client = listener.accept()[0]
    client.recv(4096)
    client.close()
say("closed")
over()
""")
        for _ in range(20):
            client = self.client().send("/")
            self.assertIsNone(client.response())
            client.close()
        wait_until(lambda: self.service.events("closed"), "the service to have closed them")
        left = subprocess.check_output(["ss", "-Htan", "state", "time-wait", "sport", "=", f":{self.port}"], text=True)
        self.assertGreaterEqual(left.count("\n"), 1, "nothing is in TIME_WAIT")
        self.begin_stop()
        _, drain = self.end_stop()
        self.assertEqual(drain["detail"]["connectionsPeak"], 0)
        self.assert_took(drain["durationMs"] / 1000, self.settle)

    def test_the_last_close_ends_it_whoever_closes_and_however(self):
        self.start_agent()
        for name, close in (("fin", lambda client: client.close()), ("reset", reset)):
            with self.subTest(name):
                self.serve(name=name)
                clients = [self.client() for _ in range(5)]
                self.assertEqual([client.get("/") for client in clients], [200] * 5)
                self.begin_stop(name)
                for client in clients[1:]:
                    close(client)
                self.assert_drains_on(0.8)
                close(clients[0])
                closed = boot_now()
                _, drain = self.end_stop()
                self.assertEqual(drain["detail"]["connectionsPeak"], 5)
                self.assert_signalled(closed, self.settle)


class Settling(drains.DrainTest):
    def test_a_connection_that_comes_and_goes_starts_it_again(self):
        self.start_agent(settle=1.0)
        for name, last in (("client closes", "keep-alive"), ("service closes", "close")):
            with self.subTest(name):
                name = name.split()[0]
                self.serve(name=name)
                asked = boot_now()
                self.begin_stop(name)
                wait_until(lambda: boot_now() > asked + 0.55, "the settle time to be half over")
                client = self.client()
                client.socket.sendall(f"GET / HTTP/1.1\r\nConnection: {last}\r\n\r\n".encode())
                self.assertEqual(client.response(), 200)
                client.close()
                closed = boot_now()
                _, drain = self.end_stop()
                self.assert_signalled(closed, 1.0 - 0.05)
                self.assertEqual(drain["detail"]["arrivedAfterDeregistration"], 1)
                self.assertEqual(drain["detail"]["connectionsAtStart"], 0)

    def test_one_that_stays_a_while_is_waited_for(self):
        self.start_agent(settle=1.0)
        self.serve()
        self.begin_stop()
        client = self.client().send("/delay/1500")
        self.assertEqual(client.response(), 200)
        client.close()
        closed = boot_now()
        _, drain = self.end_stop()
        self.assert_signalled(closed, 1.0)
        self.assertEqual(drain["detail"]["arrivedAfterDeregistration"], 1)

    def test_after_three_settle_times_zero_at_one_look_is_enough(self):
        self.start_agent(settle=1.0)
        self.serve()
        asked = boot_now()
        self.begin_stop()
        probes = 0
        while self.service.signalled() is None and boot_now() < asked + 6:
            client = self.client()
            try:
                probes += client.get("/health") == 200
            except ConnectionError:
                break
            client.close()
            time.sleep(0.3)  # the pace of a load balancer's health checks
        _, drain = self.end_stop()
        self.assertEqual(drain["outcome"], "completed")
        self.assert_signalled(asked, 3.0)
        self.assertGreaterEqual(probes, 8)
        self.assertAlmostEqual(drain["detail"]["arrivedAfterDeregistration"], probes, delta=1)


class Overflowing(drains.DrainTest):
    """More has happened than the kernel can tell: the agent was away while everybody left."""

    CROWD = 1500

    def crowd(self, staying):
        self.start_agent(settle=0.1)
        self.serve()
        crowd = subprocess.Popen([sys.executable, "-c", CROWD, str(self.port), str(self.CROWD), str(staying)],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(crowd.communicate)
        self.assertEqual(crowd.stdout.readline(), "here\n")
        self.begin_stop()
        self.agent.process.signal(signal.SIGSTOP)
        crowd.stdin.write("\n")
        crowd.stdin.flush()
        self.assertEqual(crowd.stdout.readline(), "gone\n")
        wait_until(lambda: self.open_in_service() == staying, "the service to have closed them")
        return crowd

    def open_in_service(self):
        kernel = subprocess.check_output(["ss", "-Htan", "state", "established", "state", "close-wait",
                                          "sport", "=", f":{self.port}"], text=True)
        return kernel.count("\n")

    def test_the_drain_ends_when_nobody_is_left(self):
        self.crowd(staying=0)
        self.agent.process.signal(signal.SIGCONT)
        awake = boot_now()
        _, drain = self.end_stop()
        self.assertEqual(drain["detail"]["connectionsPeak"], self.CROWD)
        self.assertEqual(drain["detail"]["connectionsAtEnd"], 0)
        self.assert_signalled(awake, 0.1, 0.4)

    def test_it_goes_on_while_one_is_left(self):
        crowd = self.crowd(staying=1)
        self.agent.process.signal(signal.SIGCONT)
        self.assert_drains_on(1.5)
        closed = boot_now()
        crowd.communicate("\n")
        self.end_stop()
        self.assert_signalled(closed, 0.1, 0.4)


def reset(client):
    """Closes with an RST."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()


if __name__ == "__main__":
    harness.main()
