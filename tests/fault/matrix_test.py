"""`kill -9` of the agent at random moments of stops, behind HAProxy and under load.

LASTCALL_SEED repeats a run, LASTCALL_ROUNDS sets how many moments there are.
"""
import collections
import os
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
        load = None
        for number in range(ROUNDS):
            self.stubborn = random.random() < 0.15
            self.hook = random.random() < 0.15
            self.run_service("web", ports["web"], *(["--ignore-term"] if self.stubborn else ["--exit-after-term", 30]),
                             flags=["--pre-stop", "sleep 0.05"] if self.hook else [])
            load = load or Load(self, self.haproxy.port, "--slow-share", 0.2, "--slow-path", "/delay/150",
                                connections=8, rate=150, seconds=280)
            with self.subTest(f"round {number} of seed {SEED}"):
                self.one_round(ports["web"])
                self.tally["as it should be"] += 1
        counts = load.finish()
        print(f"seed {SEED}: {self.tally['as it should be']} of {ROUNDS}; {dict(self.tally)}; "
              f"{counts['failed']} of {counts['requests']} requests failed", file=sys.stderr)
        self.assertEqual(counts["failed"], 0, counts)
        self.assertGreater(counts["requests"], ROUNDS * 10)
        self.assertEqual(self.tally["as it should be"], ROUNDS)
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
        self.agent.ctl("stop", "web", "--detach", *(["--timeout", STOP_TIMEOUT] if self.stubborn else []))
        for _ in range(random.choice([1, 1, 1, 2])):
            moment = boot_now() + random.random() * (0.8 if self.stubborn else 0.33)
            wait_until(lambda: boot_now() >= moment, "the moment")
            task = self.agent.task("web")
            self.tally["killed while " + (task["lastStatus"] if task else "gone")] += 1
            self.kill_agent()
            self.go_on()
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
        self.assertIn(record["outcome"], ["killed"] if self.stubborn else ["graceful", "exited"], record)
        for phase in record["phases"]:
            self.assertIsNotNone(phase["outcome"], record)
        names = [phase["phase"] for phase in record["phases"] if phase["phase"] != "CLEANUP"]
        wanted = ["DEREGISTER", "DRAIN"] + ["PRE_STOP"] * self.hook + ["SIGTERM"] + ["SIGKILL"] * self.stubborn
        self.assertEqual(names, wanted, record)
        self.assertIn(record["phases"][1]["outcome"], ["completed"], record)
        terms = len(self.terms())
        self.tally[f"SIGTERM heard {terms} times"] += 1
        self.assertGreaterEqual(terms, 1)
        self.assertLessEqual(terms, 2)
        self.assertTrue(self.haproxy.server("web")["admin_state"] & 0x09, "HAProxy would still send")
        wait_until(lambda: not self.zombies(), "no zombie")

    def zombies(self):
        return [pid for pid, state in harness.descendants().items() if state == "Z"]


if __name__ == "__main__":
    harness.main()
