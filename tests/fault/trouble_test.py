"""What else can happen to an agent, and to those that it works with, while a task is being stopped."""
import os
import pathlib
import signal
import socket

import mortal
from mortal import assert_stays, boot_now, command_of, free_port, harness, phase_of, wait_until
from harness import Haproxy


class Trouble(mortal.MortalTest):
    def behind_haproxy(self, *options, **environment):
        self.begin(**environment)
        self.haproxy = Haproxy(self, {"web": free_port(), "other": free_port()})
        for name, port in self.haproxy.servers.items():
            self.service, self.port = self.journal(name), port
            self.agent.run(name, *self.obedient(port, *options, journal=self.service), port=port,
                           load_balancers=[self.haproxy.url(name)])
            self.haproxy.wait_ready(name)
        self.service = self.journal("web")
        self.port = self.haproxy.servers["web"]
        self.pid = self.agent.task("web")["containers"][0]["pid"]
        self.wait_recorded("web", registered=True)

    def in_maintenance(self):
        return self.haproxy.server("web")["admin_state"] & 0x09 == 0x01

    def test_an_agent_that_was_halted_for_longer_than_a_deadline(self):
        self.begin(ECS_CONTAINER_STOP_TIMEOUT=1)
        self.serve("--ignore-term")
        self.agent.ctl("stop", "web", "--detach")
        wait_until(self.terms, "SIGTERM")
        due = self.terms()[0]["boot"] / 1e6 + 1
        self.agent.process.signal(signal.SIGSTOP)
        wait_until(lambda: boot_now() > due + 0.5, "the deadline to be over")
        self.assertIsNotNone(command_of(self.pid))
        woken = boot_now()
        self.agent.process.signal(signal.SIGCONT)
        self.assertLess(self.gone_at(self.pid) - woken, harness.SLACK, "SIGKILL came late")
        task = self.agent.wait_status("web", "STOPPED")
        self.assertEqual(self.agent.stops("web")[0]["outcome"], "killed", task)
        self.assertEqual(len(self.terms()), 1)

    def test_haproxy_is_gone_while_the_agent_dies_and_comes_back(self):
        self.behind_haproxy(AGENT_DEREGISTRATION_DELAY=60)
        slow = harness.Client(self.haproxy.port)
        self.addCleanup(slow.close)
        direct = harness.Client(self.port).send("/delay/2500")
        self.addCleanup(direct.close)
        self.agent.ctl("stop", "web", "--detach")
        self.agent.wait_phase("web", "DRAIN")
        self.kill_agent()
        self.haproxy.process.kill()
        self.go_on()
        self.haproxy.start()  # a new one remembers nothing: its servers begin in maintenance
        self.haproxy.ask("set server web/web state ready")
        wait_until(lambda: self.haproxy.server("web")["admin_state"] & 0x09, "the deregistration to be said again")
        self.assertEqual(direct.response(), 200, "the request was cut")
        direct.close()  # its socket counts until it is closed
        self.agent.wait_status("web", "STOPPED", 30)
        record = self.agent.stops("web")[0]
        self.assertEqual(record["outcome"], "graceful", record)
        self.assertTrue(self.haproxy.server("web")["admin_state"] & 0x09)
        self.assertEqual(len(self.terms()), 1)

    def test_a_server_in_maintenance_stays_there_when_an_agent_goes_on(self):
        """`drain` said again would let cookie traffic in."""
        self.behind_haproxy("--ignore-term", ECS_CONTAINER_STOP_TIMEOUT=2)
        self.agent.ctl("stop", "web", "--detach")
        wait_until(self.terms, "SIGTERM")
        self.assertTrue(self.in_maintenance())
        self.kill_and_go_on()
        assert_stays(self.in_maintenance, "in maintenance", 0.7)
        self.agent.wait_status("web", "STOPPED")
        self.assertTrue(self.in_maintenance())

    def test_what_an_operator_has_set_meanwhile_is_left_alone(self):
        self.behind_haproxy()
        self.kill_agent()
        self.haproxy.ask("set server web/web state maint")
        self.go_on()
        assert_stays(self.in_maintenance, "in maintenance", 0.5)
        self.assertEqual(self.agent.task("web")["lastStatus"], "RUNNING")

    def test_a_hook_that_is_killed(self):
        self.begin()
        pid_file = self.dir / "pid"
        self.serve(flags=["--pre-stop", f"echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; sleep 60"])
        self.agent.ctl("stop", "web", "--detach")
        wait_until(pid_file.exists, "the hook")
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
        self.agent.wait_status("web", "STOPPED")
        hook = phase_of(self.agent.stops("web")[0], "PRE_STOP")
        self.assertEqual((hook["outcome"], hook["detail"]["signal"]), ("failed", "SIGKILL"))

    def test_a_hook_that_is_killed_while_no_agent_lives(self):
        self.begin()
        pid_file = self.dir / "pid"
        self.serve(flags=["--pre-stop", f"echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; sleep 60"])
        self.agent.ctl("stop", "web", "--detach")
        wait_until(pid_file.exists, "the hook")
        self.wait_noted("web", "pid")
        self.kill_agent()
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
        pid_file.unlink()
        self.go_on()
        self.agent.wait_status("web", "STOPPED")
        hook = phase_of(self.agent.stops("web")[0], "PRE_STOP")
        self.assertEqual(hook["outcome"], "interrupted", hook)
        self.assertFalse(pid_file.exists(), "it ran again")

    def test_the_oom_killer_takes_the_agent(self):
        """A memory cgroup of its own, and a limit that it meets."""
        memory = pathlib.Path("/sys/fs/cgroup/memory")
        if not (memory / "memory.limit_in_bytes").exists() or os.geteuid() != 0:
            self.skipTest("no memory cgroup (version 1) that we may write to")
        place = memory / self.dir.name
        place.mkdir()
        self.addCleanup(lambda: wait_until(lambda: self.removed(place), "the memory cgroup to be empty"))
        self.begin()
        self.serve()
        (place / "cgroup.procs").write_text(str(self.agent.process.pid))
        limit = 2 << 20
        (place / "memory.limit_in_bytes").write_text(str(limit))
        (place / "memory.swappiness").write_text("0")
        bodies = []
        for _ in range(200):  # requests that it holds in its memory
            if not self.agent.process.running():
                break
            bodies.append(self.begin_request())
        self.assertEqual(self.agent.process.wait(20), 128 + signal.SIGKILL)
        self.go_on()
        self.assertEqual(self.agent.task("web")["containers"][0]["pid"], self.pid)
        self.assertEqual(self.agent.ctl("stop", "web", "--output", "json")["outcome"], "graceful")

    def begin_request(self):
        connection = socket.socket(socket.AF_UNIX)
        self.addCleanup(connection.close)
        connection.settimeout(2)
        try:
            connection.connect(str(self.agent.socket))
            size = 1_000_000
            connection.sendall(f"POST /v1/tasks HTTP/1.1\r\nHost: agent\r\nContent-Length: {size}\r\n\r\n".encode()
                               + b" " * (size - 1))
        except OSError:
            pass  # it died meanwhile
        return connection

    @staticmethod
    def removed(place):
        for pid in filter(None, (place / "cgroup.procs").read_text().split()):
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            place.rmdir()
        except OSError:
            return False
        return True


if __name__ == "__main__":
    harness.main()
