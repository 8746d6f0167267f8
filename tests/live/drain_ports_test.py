"""Whose connections count: the ports of a task, wherever and whenever it opens them."""
import os
import pathlib
import socket
import sys

import drains
import harness
from harness import boot_now, free_port, phase_of, wait_until


class Ports(drains.DrainTest):
    def setUp(self):
        super().setUp()
        self.start_agent()

    def assert_held_by(self, *clients, port=None):
        """The drain lasts until the last of these clients leaves."""
        self.begin_stop()
        for client in clients[:-1]:
            client.close()
        self.assert_drains_on(1.2)
        self.assertEqual(clients[-1].get("/"), 200)
        clients[-1].close()
        closed = boot_now()
        _, drain = self.end_stop()
        self.assertEqual(drain["detail"]["connectionsAtStart"], len(clients))
        self.assert_signalled(closed, self.settle)
        return drain

    def test_connections_that_the_task_opened_dont_count(self):
        somewhere = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(somewhere.close)
        self.serve_script("""
serve(listen(port))
outside = [socket.create_connection(("127.0.0.1", int(sys.argv[3]))) for _ in range(3)]
say("connected")
over()
""", somewhere.getsockname()[1])
        wait_until(lambda: self.service.events("connected"), "the service to connect")
        self.begin_stop()
        _, drain = self.end_stop()
        self.assertEqual((drain["outcome"], drain["detail"]["connectionsPeak"]), ("completed", 0))
        self.assert_took(drain["durationMs"] / 1000, self.settle)

    def test_connections_outlive_their_listener(self):
        self.serve_script("""
listener = listen(port)
client = listener.accept()[0]
asked()
listener.shutdown(socket.SHUT_RDWR)
listener.close()
say("closed")
threading.Thread(target=lambda: [client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
                                 for _ in iter(lambda: client.recv(4096), b"")] + [client.close()]).start()
over()
""")
        self.wait_registered()  # it has been seen, then
        client = self.client()
        self.signal_service()
        wait_until(lambda: self.service.events("closed"), "the listener to be closed")
        self.assert_held_by(client)

    def test_a_port_opened_later_by_a_descendant(self):
        self.serve_script("""
later = int(sys.argv[3])
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        asked()
        serve(listen(later))
        over()
    os._exit(0)
serve(listen(port))
over()
""", later := free_port())
        grandchild = wait_until(lambda: [pid for pid in harness.descendants() if self.is_orphan(pid)],
                                "the grandchild")[0]
        os.kill(grandchild, drains.signal.SIGUSR1)
        wait_until(lambda: len(self.service.events("listening")) == 2, "the second port")
        self.assert_held_by(self.client(), self.client(later))

    def is_orphan(self, pid):
        """The scripted service's grandchild leads no session and isn't its main process."""
        main = self.agent.task("web")["containers"][0]["pid"]
        try:
            with open(f"/proc/{pid}/cmdline") as line:
                return pid != main and str(self.service.path) in line.read() and os.getsid(pid) != pid
        except OSError:
            return False

    def test_a_port_that_two_processes_share(self):
        self.serve_script("""
def share():
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    say("listening", port=port)
    serve(listener)
if os.fork() == 0:
    share()
    over()
share()
over()
""", listening=2)
        clients = [self.client() for _ in range(40)]  # both have some: the kernel spreads them
        for client in clients:
            self.assertEqual(client.get("/"), 200)
        self.assert_held_by(*clients)

    def test_two_tasks_that_share_a_port_drain_each_for_itself(self):
        script = """
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
listener.bind(("127.0.0.1", int(sys.argv[3])))
listener.listen()
say("listening", port=port)
def converse(client):
    say("connected")
    while client.recv(65536):
        pass
    client.close()
def accept():
    while True:
        threading.Thread(target=converse, args=(listener.accept()[0],), daemon=True).start()
threading.Thread(target=accept, daemon=True).start()
over()
"""
        shared = harness.free_port()
        self.serve_script(script, shared, name="web")
        first, pid = self.service, self.agent.task("web")["containers"][0]["pid"]
        if "lastcall-" not in pathlib.Path(f"/proc/{pid}/cgroup").read_text():
            self.skipTest("no cgroup can be made here: nothing tells the two tasks' connections apart")
        self.serve_script(script, shared, name="other")
        second = self.service
        clients = [self.client(shared) for _ in range(40)]
        wait_until(lambda: len(first.events("connected")) + len(second.events("connected")) == 40, "all to be accepted")
        self.assertGreater(len(first.events("connected")), 0)
        self.assertGreater(len(second.events("connected")), 0)
        self.begin_stop("web")
        self.assert_drains_on(0.5, first)
        ours = harness.peers_of(pid, shared)
        for client in clients:
            if client.socket.getsockname()[1] in ours:
                client.close()
        _, drain = self.end_stop()
        self.assertEqual(drain["outcome"], "completed")
        self.assertEqual(drain["detail"]["connectionsAtStart"], len(ours))
        self.assertIsNone(second.signalled())

    def test_a_descendant_that_accepts_for_its_parent(self):
        self.serve_script("""
listener = listen(port)
if os.fork() == 0:
    serve(listener)
    over()
listener.close()
over()
""")
        self.assert_held_by(self.client(), self.client())

    def test_a_listener_on_every_address_of_both_families(self):
        self.serve_script("""
listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
say("listening", port=port)
serve(listener)
over()
""")
        self.assert_held_by(self.client(host="::1"), self.client())

    def test_connections_of_another_port_of_the_machine_dont_count(self):
        self.serve()
        stranger = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(stranger.close)
        self.client(stranger.getsockname()[1])
        self.begin_stop()
        _, drain = self.end_stop()
        self.assertEqual(drain["detail"]["connectionsPeak"], 0)

    def test_only_the_configured_ports_count(self):
        other = free_port()
        self.serve_script("serve(listen(port)); serve(listen(int(sys.argv[3]))); over()", other, listening=2,
                          flags=["--port", other])
        self.client()
        self.assert_held_by(self.client(other))

    def serve_unregistered(self, script, *flags):
        """It is the load balancer's business to know where the task is."""
        self.service, self.port = self.journal(), free_port()
        self.agent.run("web", *self.scripted(script + "say('up'); over()"), flags=flags,
                       load_balancers=[self.readiness() + "&register=0"])
        wait_until(lambda: self.service.events("up"), "the service")

    def test_no_port_known_is_no_evidence_and_that_is_the_full_delay(self):
        self.serve_unregistered("", "--deregistration-delay", 2)
        self.begin_stop(evidence=False)
        _, drain = self.end_stop()
        self.assertEqual(drain["outcome"], "timed_out")
        self.assert_took(drain["durationMs"] / 1000, 2)
        self.assertEqual(self.agent.process.stderr().count("No evidence"), 1)

    def test_a_port_that_nobody_ever_listened_on_is_no_evidence(self):
        wrong = free_port()
        self.serve_unregistered("serve(listen(port));", "--port", wrong, "--deregistration-delay", 2)
        self.begin_stop(evidence=False)
        _, drain = self.end_stop()
        self.assertEqual(drain["outcome"], "timed_out")
        self.assert_took(drain["durationMs"] / 1000, 2)
        said = [line for line in self.agent.process.stderr().splitlines() if "evidence" in line and str(wrong) in line]
        self.assertEqual(len(said), 1, self.agent.process.stderr())

    def test_open_connections_of_a_running_task_are_shown(self):
        self.serve_script("serve(listen(port)); over()")
        self.wait_registered()
        clients = [self.client() for _ in range(3)]
        self.assertEqual([client.get("/") for client in clients], [200] * 3)
        self.assertEqual(self.agent.task("web")["connections"], 3)
        clients[0].close()
        wait_until(lambda: self.agent.task("web")["connections"] == 2, "one to be gone")
        self.assertEqual(self.agent.ctl("inspect", "web", "--output", "json")["connections"], 2)

    def test_what_is_no_port_is_refused(self):
        for port in ("0", "70000", "http", "-1"):
            self.assertIn(port, self.agent.ctl("run", "--port", port, "--", "true", code=2))


class Inherited(drains.DrainTest):
    LISTENING = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.execv(sys.argv[2], sys.argv[2:])
"""

    def test_a_listener_that_the_agent_was_started_with(self):
        self.port, self.service, self.settle = free_port(), self.journal(), 0.2
        data = self.dir / "data"
        run = self.agent_run(*self.scripted("serve(socket.socket(fileno=3)); say('listening'); over()"),
                             prefix=[sys.executable, "-c", self.LISTENING, str(self.port)],
                             AGENT_LOAD_BALANCERS=self.readiness(), AGENT_DEREGISTRATION_DELAY=60, AGENT_TASK="web",
                             ECS_DATADIR=data)
        wait_until(lambda: self.service.events("listening"), "the service")
        client = self.client()
        self.assertEqual(client.get("/"), 200)
        run.signal(drains.signal.SIGTERM)
        self.assert_drains_on(1.2)
        self.assertEqual(client.get("/"), 200)
        client.close()
        closed = boot_now()
        self.assertEqual(run.wait(), 0)
        self.assert_signalled(closed, self.settle)
        # The record is in its journal: a daemon that takes it over tells it.
        drain = phase_of(harness.Agent(self, ECS_DATADIR=data).stops("web")[0], "DRAIN")
        self.assertEqual((drain["outcome"], drain["detail"]["connectionsAtStart"]), ("completed", 1))


if __name__ == "__main__":
    harness.main()
