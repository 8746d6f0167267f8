"""Upgrades, and crashes, while tasks run, drain and stop: who waits for a stop notices nothing."""
import json
import os
import signal
import threading
import time

import harness
from harness import Agent, Haproxy, Load, boot_now, free_port, phase_of, phases_of, wait_until


class UpgradeTasks(harness.LiveTest):
    def serve_two(self, **environment):
        """web1 and web2 behind HAProxy."""
        self.agent = Agent(self, AGENT_DEREGISTRATION_DELAY=30, **environment)
        ports = {name: free_port() for name in ("web1", "web2")}
        self.haproxy = Haproxy(self, ports)
        self.services = {name: self.journal(name) for name in ports}
        for name, port in ports.items():
            self.agent.run(name, *self.obedient(port, journal=self.services[name]), port=port,
                           load_balancers=[self.haproxy.url(name)])
            self.haproxy.wait_ready(name)

    def serve_one(self, *options, name="web1", **environment):
        self.agent = Agent(self, **environment)
        self.services = {name: self.journal(name)}
        port = free_port()
        self.agent.run(name, *self.obedient(port, *options, journal=self.services[name]), port=port)
        wait_until(lambda: self.services[name].events("listening"), f"{name} to listen")

    def pid(self, name):
        return self.agent.task(name)["containers"][0]["pid"]

    def upgrade(self):
        return self.agent.ctl("upgrade", "--output", "json")["silentMs"]

    def crash(self):
        """kill -9, and another agent in its place, as its supervisor would start one."""
        self.agent.process.kill()
        self.agent = Agent(self, ECS_DATADIR=self.agent.data, AGENT_SOCKET=self.agent.socket,
                           **self.agent.environment)

    def assert_signalled_once(self):
        terms = [event for event in self.services["web1"].events("signal") if event["signal"] == signal.SIGTERM]
        self.assertEqual(len(terms), 1, terms)

    def assert_told(self, waiting, *lines):
        """`agentctl` has returned as if nothing had been."""
        self.assertEqual(waiting.wait(), 0, waiting.stderr())
        self.assertEqual(waiting.stderr(), "")
        at = 0
        for line in lines:
            self.assertIn(line, waiting.stdout()[at:])
            at = waiting.stdout().index(line, at) + 1

    def test_under_load_and_during_a_drain_no_request_fails(self):
        self.serve_two()
        pids = {name: self.pid(name) for name in self.services}
        load = Load(self, self.haproxy.port, "--slow-share", 0.05, "--slow-path", "/delay/1000", rate=200)
        wait_until(lambda: len(self.services["web1"].requests()) > 50, "traffic")
        silences = [self.upgrade()]
        self.assertEqual({name: self.pid(name) for name in pids}, pids)
        # So that the drain takes long enough to be upgraded in: half of these are on web1.
        slow = [harness.Client(self.haproxy.port).send("/delay/4000") for _ in range(8)]
        wait_until(lambda: self.haproxy.server("web1")["scur"] >= 2, "requests on web1")
        begun = boot_now()
        stopping = self.agent.start_ctl("stop", "web1")
        self.agent.wait_phase("web1", "DRAIN")
        for _ in range(3):
            silences.append(self.upgrade())
            self.agent.wait_phase("web1", "DRAIN")
        self.assertFalse(self.services["web1"].signalled(), "the drain was over too soon to tell anything")
        self.assert_told(stopping, "DEREGISTER", "DRAIN", "SIGTERM", "web1 stopped in", "gracefully")
        took = boot_now() - begun
        self.assertEqual([client.response() for client in slow], [200] * 8)
        counts = load.finish()
        self.assertEqual(counts["failed"], 0, counts)
        stop, = self.agent.stops("web1")
        self.assertEqual((stop["outcome"], phases_of(stop)), ("graceful", ["DEREGISTER", "DRAIN", "SIGTERM"]),
                         json.dumps(stop))
        self.assertEqual(phase_of(stop, "DRAIN")["outcome"], "completed", json.dumps(stop))
        self.assertEqual(stop["containers"][0]["exitCode"], 0)
        self.assertTrue(self.haproxy.server("web1")["admin_state"] & 0x01)
        self.assertEqual(self.pid("web2"), pids["web2"])
        print(f"\n  {counts['requests']} requests, {counts['failed']} failed; stopped in {took:.1f} s; silent for "
              f"{', '.join(f'{ms:.1f}' for ms in silences)} ms")

    def test_exit_codes_are_known_after_an_upgrade(self):
        self.agent = Agent(self)
        go = self.dir / "go"
        self.agent.run("web1", "sh", "-c", f"until [ -e {go} ]; do sleep 0.02; done; exit 42")
        self.upgrade()
        go.touch()
        self.agent.wait_status("web1", "STOPPED")
        self.assertEqual(self.agent.stops("web1")[0]["containers"][0]["exitCode"], 42)

    def test_a_readiness_endpoint_is_never_refused(self):
        ready, port = free_port(), free_port()
        self.agent = Agent(self)
        self.agent.run("web1", *self.obedient(port), port=port,
                       load_balancers=[f"readiness://127.0.0.1:{ready}/ready?settle=100ms"])

        def probe():
            try:
                return harness.Client(ready).get("/ready")
            except OSError as error:
                return repr(error)
        wait_until(lambda: probe() == 200, "the task to be ready")
        seen, over = [], threading.Event()

        def ask():
            while not over.is_set():
                seen.append(probe())
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        for _ in range(5):
            count = len(seen)
            self.upgrade()
            wait_until(lambda: len(seen) > count + 20, "probes")
        over.set()
        asking.join(20)
        # One that is being answered in that moment is cut off (None); none is refused, or told 503.
        self.assertEqual(set(seen) - {200, None}, set())
        self.assertLessEqual(seen.count(None), 5)

    def test_a_stop_timeout_runs_on(self):
        self.serve_one("--ignore-term", ECS_CONTAINER_STOP_TIMEOUT="3s")
        stopping = self.agent.start_ctl("stop", "web1")
        signalled = wait_until(self.services["web1"].signalled, "SIGTERM")
        pid = self.pid("web1")
        for _ in range(3):
            self.upgrade()
        wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "SIGKILL")
        self.assert_took(boot_now() - signalled, 2.99, 3)
        self.assert_told(stopping, "SIGTERM", "SIGKILL", "web1 stopped in")
        self.assert_signalled_once()
        self.assertEqual(self.agent.stops("web1")[0]["outcome"], "killed")

    def test_a_restart_is_finished_by_who_asked_for_it(self):
        for disturb in (self.upgrade, self.crash):
            with self.subTest(disturb.__name__):
                self.serve_one("--exit-after-term", 1500)
                before = self.agent.task("web1")["id"]
                restarting = self.agent.start_ctl("restart", "web1")
                wait_until(self.services["web1"].signalled, "SIGTERM")
                disturb()
                self.assert_told(restarting, "SIGTERM", "web1 stopped in", "web1 started again")
                task = self.agent.task("web1")
                self.assertNotEqual(task["id"], before)
                self.assertEqual(task["lastStatus"], "RUNNING")
                wait_until(lambda: len(self.services["web1"].events("listening")) == 2, "the new one")
                self.assertEqual(len(self.agent.stops("web1")), 1)
                self.agent.process.signal(signal.SIGTERM)
                self.assertEqual(self.agent.process.wait(), 0)
                for path in (self.services["web1"].path,):
                    path.unlink()
                harness.shutil.rmtree(self.agent.data)

    def test_a_stop_outlives_a_crash_of_the_agent(self):
        self.serve_one("--exit-after-term", 2000)
        stopping = self.agent.start_ctl("stop", "web1")
        wait_until(self.services["web1"].signalled, "SIGTERM")
        self.crash()
        self.assert_told(stopping, "SIGTERM", "web1 stopped in")
        self.assert_signalled_once()
        self.assertEqual(len(self.agent.stops("web1")), 1)

    def test_an_agent_that_stays_away_is_told(self):
        self.serve_one("--exit-after-term", 5000)
        stopping = self.agent.start_ctl("stop", "web1", "--patience", "1")
        wait_until(self.services["web1"].signalled, "SIGTERM")
        self.agent.process.kill()
        gone = boot_now()
        self.assertEqual(stopping.wait(), 4)
        self.assert_took(boot_now() - gone, 1, 2)
        self.assertIn("whether the stop of web1 goes on isn't known", stopping.stderr())
        self.assertEqual(len(stopping.stderr().splitlines()), 1)

    def test_a_signal_that_comes_meanwhile_stops_all_tasks(self):
        for delay in range(0, 20, 2):
            with self.subTest(delay):
                self.agent = Agent(self, ECS_DATADIR=self.dir / f"data{delay}", AGENT_SOCKET=self.dir / f"agent{delay}.sock")
                self.agent.run("web1", "sleep", "60")
                pid = self.pid("web1")
                self.assertEqual(self.agent.request("POST", "/v1/upgrade")[0], 202)
                end = time.monotonic() + delay / 1000
                while time.monotonic() < end:
                    pass
                self.agent.process.signal(signal.SIGTERM)
                self.assertEqual(self.agent.process.wait(), 0)
                self.assertFalse(os.path.exists(f"/proc/{pid}"))

    def test_many_upgrades_in_a_row_keep_many_tasks(self):
        self.agent = Agent(self)
        for number in range(30):
            self.agent.run(f"t{number}", "sleep", "60")
        pids = {name: self.pid(name) for name in (f"t{number}" for number in range(30))}
        for _ in range(10):
            self.upgrade()
        self.assertEqual({name: self.pid(name) for name in pids}, pids)
        self.agent.ctl("stop", "--all")
        self.assertFalse([pid for pid in pids.values() if os.path.exists(f"/proc/{pid}")])


if __name__ == "__main__":
    harness.main()
