"""What a service manager hears of the agent (sd_notify(3)), and the unit that starts it."""
import configparser
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import unittest

import harness
from harness import AGENT, Agent, wait_until

UNIT = harness.ROOT / "scripts/packaging/systemd/lastcall.service"


class Manager:
    """A service manager's end of NOTIFY_SOCKET: its messages as dictionaries, with their times."""

    def __init__(self, test, abstract=False):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.address = f"@lastcall-test-{os.getpid()}-{id(self)}" if abstract else str(test.dir / "notify")
        self.socket.bind("\0" + self.address[1:] if abstract else self.address)
        self.socket.setblocking(False)
        self.messages = []
        test.addCleanup(self.socket.close)

    def all(self):
        while True:
            try:
                text = self.socket.recv(4096).decode()
            except BlockingIOError:
                return self.messages
            self.messages.append({"at": harness.boot_now()} | dict(line.split("=", 1) for line in text.split("\n")))

    def of(self, key):
        return [message for message in self.all() if key in message]

    def wait(self, key, value=None, count=1, seconds=15.0):
        return wait_until(lambda: (found := [m for m in self.of(key) if value in (None, m[key])])
                          and len(found) >= count and found, f"{key}={value or '…'}", seconds)


class NotifyTest(harness.LiveTest):
    def run_slow_one(self, agent, milliseconds):
        service = self.journal("web1")
        agent.run("web1", *self.obedient(harness.free_port(), "--exit-after-term", milliseconds, journal=service))
        wait_until(lambda: service.events("listening"), "it to hear signals")

    def test_ready_when_the_socket_is_open(self):
        manager = Manager(self)
        agent = Agent(self, NOTIFY_SOCKET=manager.address, wait=False)
        message = manager.wait("READY")[0]
        self.assertEqual((message["READY"], message["STATUS"]), ("1", "No task"))
        self.assertTrue(harness.answers(agent.socket))

    def test_an_abstract_socket_is_as_good(self):
        manager = Manager(self, abstract=True)
        Agent(self, NOTIFY_SOCKET=manager.address)
        manager.wait("READY")

    def test_the_status_is_told_when_it_changes_and_else_nothing(self):
        manager = Manager(self)
        agent = Agent(self, NOTIFY_SOCKET=manager.address)
        self.run_slow_one(agent, 1500)
        agent.run("web2", "sleep", "60")
        manager.wait("STATUS", "2 tasks: 2 running")
        agent.ctl("stop", "web1", "--detach")
        manager.wait("STATUS", "2 tasks: 1 running, 1 stopping")
        wait_until(lambda: manager.of("STATUS")[-1]["STATUS"] == "1 task: 1 running", "the last status")
        count = len(manager.all())
        harness.assert_stays(lambda: len(manager.all()) == count, "silence", 2.5)

    def test_a_shutdown_asks_for_its_time_until_it_is_over(self):
        manager = Manager(self)
        agent = Agent(self, NOTIFY_SOCKET=manager.address, ECS_CONTAINER_STOP_TIMEOUT="20s")
        self.run_slow_one(agent, 3500)
        agent.process.signal(signal.SIGTERM)
        manager.wait("STOPPING", "1")
        extensions = manager.wait("EXTEND_TIMEOUT_USEC", count=3)
        self.assertEqual(agent.process.wait(), 0)
        for first, second in zip(extensions, extensions[1:]):
            self.assertLess(second["at"] - first["at"], int(first["EXTEND_TIMEOUT_USEC"]) / 1e6)
        # 20 s until SIGKILL, less what has passed; 10 s for SIGKILL, 5 for the rest, 10 of margin.
        last = int(extensions[2]["EXTEND_TIMEOUT_USEC"]) / 1e6
        passed = extensions[2]["at"] - extensions[0]["at"]
        self.assertAlmostEqual(last, 45 - passed, delta=1)
        self.assertEqual(len(manager.of("STOPPING")), 1)

    def test_the_watchdog_is_kept_quiet_at_twice_its_pace(self):
        manager = Manager(self)
        agent = Agent(self, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC=400_000)
        beats = manager.wait("WATCHDOG", "1", count=6)
        gaps = [b["at"] - a["at"] for a, b in zip(beats, beats[1:])]
        self.assertLess(max(gaps), 0.4)
        self.assertGreater(sum(gaps) / len(gaps), 0.19)
        agent.process.signal(signal.SIGSTOP)
        manager.all()
        count = len(manager.all())
        harness.assert_stays(lambda: len(manager.all()) <= count + 1, "no beat of a halted agent", 1)
        agent.process.signal(signal.SIGCONT)
        manager.wait("WATCHDOG", count=count + 2)

    def test_a_watchdog_of_somebody_else_is_not_ours(self):
        manager = Manager(self)
        Agent(self, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC=100_000, WATCHDOG_PID=1)
        manager.wait("READY")
        harness.assert_stays(lambda: not manager.of("WATCHDOG"), "no beat", 0.5)

    def test_tasks_see_nothing_of_it_even_after_an_upgrade(self):
        manager = Manager(self)
        agent = Agent(self, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC=10_000_000)
        for name in ("before", "after"):
            agent.run(name, "sh", "-c", "env; echo end; sleep 60")
            log = agent.data / "logs" / f"{name}.log"
            text = wait_until(lambda: log.exists() and "end\n" in log.read_text() and log.read_text(), "a log")
            self.assertNotIn("NOTIFY_SOCKET", text)
            self.assertNotIn("WATCHDOG", text)
            agent.ctl("upgrade")

    def test_an_upgrade_is_a_reload_and_ready_again(self):
        manager = Manager(self)
        agent = Agent(self, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC=400_000)
        manager.wait("READY")
        agent.ctl("upgrade")
        reloading = manager.wait("RELOADING", "1")[0]
        ready = manager.wait("READY", "1", count=2)[1]
        self.assertGreaterEqual(ready["at"], reloading["at"])
        beats = len(manager.of("WATCHDOG"))
        manager.wait("WATCHDOG", count=beats + 3)
        self.assertFalse(manager.of("MAINPID"))

    def test_an_idle_agent_never_wakes_up_without_a_watchdog(self):
        manager = Manager(self)
        agent = Agent(self, NOTIFY_SOCKET=manager.address)
        agent.run("web1", "sleep", "60")
        manager.wait("STATUS", "1 task: 1 running")

        def wake_ups():
            tasks = pathlib.Path(f"/proc/{agent.process.pid}/task").glob("*/status")
            return sum(int(line.split()[1]) for task in tasks for line in task.read_text().splitlines()
                       if "ctxt_switches:" in line)

        def quiet():
            before, end = wake_ups(), time.monotonic() + 2
            while time.monotonic() < end:
                if wake_ups() != before:
                    return False
            return True
        wait_until(quiet, "two seconds without a wake-up")

    def test_a_manager_that_is_gone_is_said_once_and_changes_nothing(self):
        agent = Agent(self, NOTIFY_SOCKET=self.dir / "nobody")
        agent.run("web1", "sleep", "60")
        agent.ctl("stop", "web1")
        self.assertEqual(agent.process.stderr().count("The service manager can't be told"), 1)


class UnitTest(harness.LiveTest):
    def unit(self):
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        parser.optionxform = str
        parser.read(UNIT)
        return parser

    def test_it_says_what_the_agent_needs(self):
        service = dict(self.unit()["Service"])
        wanted = {"Type": "notify", "NotifyAccess": "main", "KillMode": "process", "Delegate": "yes",
                  "Restart": "always", "OOMPolicy": "continue", "StateDirectory": "lastcall",
                  "RuntimeDirectory": "lastcall", "RuntimeDirectoryPreserve": "restart",
                  "ExecStart": "/usr/bin/agent serve", "ExecReload": "/usr/bin/agentctl upgrade"}
        self.assertEqual({key: service.get(key) for key in wanted}, wanted)
        for key in ("TimeoutStopSec", "TimeoutStartSec", "WatchdogSec", "LimitNOFILE"):
            self.assertIn(key, service)

    def test_every_choice_has_its_reason(self):
        reason = False
        for line in UNIT.read_text().split("[Service]")[1].split("[Install]")[0].splitlines():
            reason = line.startswith("#") or (reason and bool(line))
            if line.startswith(("KillMode", "Delegate", "OOMPolicy", "Restart=", "Timeout", "WatchdogSec",
                                "StateDirectory=", "RuntimeDirectory=", "LimitNOFILE", "Type", "NotifyAccess")):
                self.assertTrue(reason, line)

    @unittest.skipUnless(shutil.which("systemd-analyze"), "there is no systemd-analyze")
    def test_systemd_finds_nothing_wrong(self):
        root = self.dir / "root"
        for folder in ("usr/bin", "etc/systemd/system"):
            (root / folder).mkdir(parents=True)
        text = UNIT.read_text().replace("/usr/bin/", f"{harness.BIN}/")
        unit = self.dir / "lastcall.service"
        unit.write_text(text)
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit],
                              capture_output=True, text=True)
        ours = [line for line in (done.stdout + done.stderr).splitlines() if "lastcall" in line]
        self.assertEqual((done.returncode, ours), (0, []), done.stderr)


if __name__ == "__main__":
    harness.main()
