"""`kill -9` of the agent at random moments of stops, behind HAProxy and under load.

LASTCALL_SEED repeats a run, LASTCALL_ROUNDS sets how often it dies in the middle of a stop.
"""
import collections
import os
import pathlib
import random
import signal
import sys
import time

import mortal
from mortal import boot_now, command_of, copies, free_port, harness, wait_until
from harness import Haproxy, Load

ROUNDS = int(os.environ.get("LASTCALL_ROUNDS", 200))
SEED = int(os.environ.get("LASTCALL_SEED", time.time_ns() % 1_000_000))
STOP_TIMEOUT = 0.4


class Matrix(mortal.MortalTest):
    def test_whenever_it_dies(self):
        random.seed(SEED)
        self.tally = collections.Counter()
        self.begin(ECS_CONTAINER_STOP_TIMEOUT=1, AGENT_DEREGISTRATION_DELAY=20, ECS_LOGLEVEL="error")
        ports = {"steady": free_port(), "web": free_port()}
        self.haproxy = Haproxy(self, ports)
        self.run_service("steady", ports["steady"])
        load, number = None, 0
        while self.tally["died in a stop"] < ROUNDS:
            number += 1
            self.stubborn = random.random() < 0.15
            self.hook = random.random() < 0.15
            self.run_service("web", ports["web"], *(["--ignore-term"] if self.stubborn else ["--exit-after-term", 30]),
                             flags=["--pre-stop", "sleep 0.05"] if self.hook else [])
            load = load or Load(self, self.haproxy.port, "--slow-share", 0.2, "--slow-path", "/delay/150",
                                connections=8, rate=150, seconds=280)
            try:
                self.one_round(ports["web"])
            except Exception as error:
                raise AssertionError(f"round {number} of LASTCALL_SEED={SEED}: {error}") from error
            self.tally["as it should be"] += 1
        counts = load.finish()
        print(f"seed {SEED}: {self.tally['as it should be']} of {number} stops as they should be; {dict(self.tally)}; "
              f"{counts['failed']} of {counts['requests']} requests failed", file=sys.stderr)
        self.assertEqual(counts["failed"], 0, counts)
        self.assertGreater(counts["requests"], ROUNDS * 10)
        self.assertEqual(self.tally["as it should be"], number)
        self.agent.ctl("stop", "--all")
        wait_until(lambda: not self.zombies(), "no zombie")

    def run_service(self, name, port, *options, flags=()):
        self.service = self.journal(f"{name}{len(self.processes)}")
        self.service.path.unlink(missing_ok=True)
        self.agent.run(name, *self.obedient(port, *options, journal=self.service), port=port,
                       load_balancers=[self.haproxy.url(name)], flags=flags)
        self.haproxy.wait_ready(name)
        self.wait_recorded(name)
        self.registered(name)

    def registered(self, name):
        """Until the journal knows it: an agent that dies before that registers it again."""
        wait_until(lambda: self.agent.task(name)["lastStatus"] == "RUNNING", name)

    def one_round(self, port):
        id = self.agent.task("web")["id"]
        pid = self.agent.task("web")["containers"][0]["pid"]
        lives, said_before = [self.agent], self.slow_records(self.agent)
        self.agent.ctl("stop", "web", "--detach", *(["--timeout", STOP_TIMEOUT] if self.stubborn else []))
        for _ in range(random.choice([1, 1, 1, 2])):
            moment = boot_now() + random.random() * (0.6 if self.stubborn else 0.2)
            wait_until(lambda: boot_now() >= moment, "the moment")
            task = self.agent.task("web")
            self.tally["killed while " + task["lastStatus"]] += 1
            self.tally["died in a stop"] += task["lastStatus"] not in ("RUNNING", "STOPPED")
            self.kill_agent()
            lives.append(self.go_on())
        task = self.agent.task("web")
        self.assertEqual(task["id"], id, "another copy")
        self.assertLessEqual(len(copies(f"127.0.0.1:{port}")), 1)
        if task["desiredStatus"] == "RUNNING":  # the wish wasn't recorded: whoever had it asks again
            self.tally["asked again"] += 1
            self.agent.ctl("stop", "web")
        self.agent.wait_status("web", "STOPPED")
        record = self.agent.stops("web")[0]
        self.assertEqual(record["survivors"], 0)
        self.assertIsNone(command_of(pid))
        self.assertEqual(copies(f"127.0.0.1:{port}"), [])
        for phase in record["phases"]:
            self.assertIn("outcome", phase, record)
        names = [phase["phase"] for phase in record["phases"] if phase["phase"] != "CLEANUP"]
        wanted = ["DEREGISTER", "DRAIN"] + ["PRE_STOP"] * self.hook + ["SIGTERM"] + ["SIGKILL"] * self.stubborn
        if sum(map(self.slow_records, lives)) > said_before:    # a stop waits 100 ms for its record and no longer
            self.tally["went on without its journal"] += 1
            self.assertEqual(names, wanted[:len(names)], record)
        else:
            self.assertEqual(names, wanted, record)
            self.assertIn(record["outcome"], ["killed"] if self.stubborn else ["graceful", "exited"], record)
            self.assertIn(record["phases"][1]["outcome"], ["completed"], record)
        terms = len(self.terms())
        self.tally[f"SIGTERM heard {terms} times"] += 1
        self.assertGreaterEqual(terms, 1)
        self.assertLessEqual(terms, 2)
        self.assertTrue(self.haproxy.server("web")["admin_state"] & 0x09, "HAProxy would still send")
        wait_until(lambda: not self.zombies(), "no zombie")

    @staticmethod
    def slow_records(agent):
        """So often it went on before something was recorded, since the disk was too busy; it says so."""
        return agent.process.stderr().count("the journal is slow")

    def zombies(self):
        """Those that the agent has to reap; orphans come to us."""
        agent = self.agent.process.pid
        words = pathlib.Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
        return [pid for pid in map(int, words) if command_of(pid) is None]


if __name__ == "__main__":
    harness.main()
