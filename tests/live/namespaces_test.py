"""Drains in network namespaces of the test's own: IPv6 alone, many addresses, a container's PID 1."""
import ctypes
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import drains
import harness
from harness import boot_now, free_port, wait_until

_libc = ctypes.CDLL(None, use_errno=True)
IP = shutil.which("ip", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
EVERYWHERE = """
listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512)
say("listening", port=port)
serve(listener)
over()
"""


def enter_namespace():
    """Takes this process, and whom it starts, into a new network namespace; says why not, if so."""
    uid, gid = os.geteuid(), os.getegid()
    if _libc.unshare(CLONE_NEWNET | (CLONE_NEWUSER if uid else 0)) != 0:
        return "the kernel refuses a network namespace: " + os.strerror(ctypes.get_errno())
    if uid:
        pathlib.Path("/proc/self/setgroups").write_text("deny")
        pathlib.Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        pathlib.Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    ip("link", "set", "lo", "up")
    return None


def ip(*words):
    subprocess.run([IP, *words], check=True)


class InNamespace(drains.DrainTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if refusal := enter_namespace():
            raise harness.unittest.SkipTest(refusal)


class Addresses(InNamespace):
    def assert_ends_with_the_last(self, clients, *, kept):
        self.begin_stop()
        for client in clients:
            if client is not kept:
                client.close()
        self.assert_drains_on(1.2)
        self.assertEqual(kept.get("/"), 200)
        kept.close()
        closed = boot_now()
        _, drain = self.end_stop()
        self.assertEqual(drain["outcome"], "completed")
        self.assertEqual(drain["detail"]["connectionsPeak"], len(clients))
        self.assert_signalled(closed, self.settle)

    def test_many_addresses(self):
        addresses = [f"10.77.{n // 100}.{n % 100 + 1}" for n in range(200)]
        addresses += [f"fd77::{n + 1:x}" for n in range(200)]
        batch = "".join(f"addr add {address}/{128 if ':' in address else 32} dev lo"
                        + (" nodad\n" if ":" in address else "\n") for address in addresses)
        subprocess.run([IP, "-batch", "-"], input=batch, text=True, check=True)
        self.start_agent()
        self.serve_script(EVERYWHERE)
        clients = [self.client(host=address) for address in addresses]
        self.assertEqual([client.get("/") for client in clients], [200] * len(clients))
        self.assert_ends_with_the_last(clients, kept=clients[137])

    def test_ipv6_alone(self):
        ip("addr", "add", "fd00::1/128", "dev", "lo", "nodad")
        ip("addr", "del", "127.0.0.1/8", "dev", "lo")
        self.addCleanup(ip, "addr", "add", "127.0.0.1/8", "dev", "lo")
        self.start_agent()
        for address in ("::1", "fd00::1"):
            with self.subTest(address):
                name = f"at{address.replace(':', '')}"
                self.port, self.service = free_port(address), self.journal(name)
                self.agent.run(name, harness.OBEDIENT, "--listen", f"[{address}]:{self.port}", "--journal",
                               self.service.path, load_balancers=[self.readiness(address)])
                wait_until(lambda: self.service.events("listening"), "the service to listen")
                clients = [self.client(host=address) for _ in range(3)]
                self.assertEqual([client.get("/") for client in clients], [200] * 3)
                self.begin_stop(name)
                clients[0].close(), clients[1].close()
                self.assert_drains_on(0.8)
                self.assertEqual(clients[2].get("/"), 200)
                clients[2].close()
                closed = boot_now()
                _, drain = self.end_stop()
                self.assertEqual((drain["outcome"], drain["detail"]["connectionsPeak"]), ("completed", 3))
                self.assert_signalled(closed, self.settle)

    def test_a_peer_is_told_by_its_address(self):
        ip("addr", "add", "fd00::2/128", "dev", "lo", "nodad")
        ip("addr", "add", "10.9.9.9/32", "dev", "lo")
        self.start_agent(delay=1)
        self.serve_script(EVERYWHERE)
        # The client's address is the one it speaks to; four of one, two of the other.
        clients = [self.client(host="fd00::2") for _ in range(4)] + [self.client(host="10.9.9.9") for _ in range(2)]
        self.assertEqual([client.get("/") for client in clients], [200] * 6)
        self.begin_stop()
        _, drain = self.end_stop()
        self.assertEqual(drain["outcome"], "timed_out")
        self.assertEqual(drain["detail"]["peers"], "fd00::2 (4), 10.9.9.9 (2)")


class PidOne(InNamespace):
    """As a container's: ports are those of the namespace that aren't loopback's or the agent's own."""

    INHERITED = """
import os, socket, sys
listener = socket.create_server(("0.0.0.0", int(sys.argv[1])))
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.execvp(sys.argv[2], sys.argv[2:])
"""

    def start_wrapped(self, script, inherited=False):
        self.port, self.service, self.settle = free_port(), self.journal(), 0.2
        prefix = [sys.executable, "-c", self.INHERITED, self.port] if inherited else []
        self.run_process = self.agent_run(
            *self.scripted(script), prefix=[*prefix, "unshare", "--pid", "--fork", "--mount-proc", "--kill-child"],
            AGENT_LOAD_BALANCERS=self.readiness(), AGENT_DEREGISTRATION_DELAY=15, AGENT_STOP_DEADLINE="none",
            AGENT_TASK="web", AGENT_SOCKET=self.dir / "agent.sock")
        wait_until(lambda: self.service.events("listening"), "the service")
        children = pathlib.Path("/proc", str(self.run_process.pid), "task", str(self.run_process.pid), "children")
        self.agent_pid = int(wait_until(children.read_text, "the agent"))

    def assert_waits_for_its_client(self):
        client = self.client()
        self.assertEqual(client.get("/"), 200)
        os.kill(self.agent_pid, signal.SIGTERM)
        self.assert_drains_on(1.2)
        self.assertEqual(client.get("/"), 200)
        client.close()
        closed = boot_now()
        self.assertEqual(self.run_process.wait(), 0, self.run_process.stderr())
        self.assert_signalled(closed, self.settle)

    def test_its_listener(self):
        self.start_wrapped("serve(socket.create_server(('0.0.0.0', port))); say('listening'); over()")
        self.assert_waits_for_its_client()

    def test_a_listener_that_the_agent_was_started_with(self):
        self.start_wrapped("serve(socket.socket(fileno=3)); say('listening'); over()", inherited=True)
        self.assert_waits_for_its_client()


if __name__ == "__main__":
    harness.main()
