"""Two services behind HAProxy, which knows nothing but their readiness: restarted under load, without one failure.

LASTCALL_LONG=1: 60 s of load and ten restarts, as a release is tried.
"""
import json
import os
import re
import shutil

import harness
from harness import Agent, Haproxy, Load, boot_now, free_port, phase_of, wait_until

LONG = os.environ.get("LASTCALL_LONG") == "1"
SECONDS, RESTARTS = (60, 10) if LONG else (15, 3)
SETTLE, IDLE, SLOW = 0.5, 1.0, 0.3
WRK = shutil.which("wrk")


class ReadinessRestart(harness.LiveTest):
    def serve_two(self, drain, backend=(), journals=True):
        self.agent = Agent(self, AGENT_DRAIN=drain, AGENT_DRAIN_IDLE=IDLE, AGENT_DEREGISTRATION_DELAY=60)
        servers = {name: (free_port(), free_port()) for name in ("web1", "web2")}
        self.services = {}
        for name, (port, ready) in servers.items():
            self.services[name] = self.journal(name)
            self.agent.run(name, *self.obedient(port, journal=self.services[name] if journals else None),
                           load_balancers=[f"readiness://127.0.0.1:{ready}/ready?fails=3&settle={int(SETTLE * 1000)}ms"])
        self.haproxy = Haproxy(
            self, {name: port for name, (port, _) in servers.items()},
            server_options={name: f"check port {ready} inter 100ms fall 2 rise 1" for name, (_, ready) in servers.items()},
            backend=["option httpchk GET /ready", *backend])
        for name in servers:
            self.wait_up(name)

    def wait_up(self, name):
        wait_until(lambda: self.haproxy.server(name)["status"].startswith("UP"), f"{name} to be up")

    def assert_restarts_unnoticed(self, rest):
        """`rest`: what a drain may add to settle and the longest request."""
        load = Load(self, self.haproxy.port, "--slow-share", 0.05, "--slow-path", f"/delay/{int(SLOW * 1000)}",
                    connections=20, rate=200, seconds=SECONDS + 60)
        begun, served = boot_now(), {}
        for number in range(RESTARTS):
            name = ("web1", "web2")[number % 2]
            self.agent.ctl("restart", name)
            self.wait_up(name)
            answered = len(self.services[name].requests())
            wait_until(lambda: len(self.services[name].requests()) > answered, f"{name} to serve again")
            served[name] = served.get(name, 0) + 1
            pace = begun + SECONDS * (number + 1) / RESTARTS
            wait_until(lambda: boot_now() >= pace, "its share of the time to be over", 60)
        counts = load.finish()
        self.assertEqual(counts["failed"], 0, counts)
        self.assertGreater(counts["requests"], SECONDS * 200 * 0.8)
        stops = [stop for name in served for stop in self.agent.stops(name)]
        self.assertEqual(len(stops), RESTARTS)
        for stop in stops:
            drain = phase_of(stop, "DRAIN")
            self.assertEqual((stop["outcome"], drain["outcome"]), ("graceful", "completed"), json.dumps(stop))
            self.assertEqual(phase_of(stop, "DEREGISTER")["outcome"], "completed")
            self.assert_took(drain["durationMs"] / 1000, SETTLE, SLOW + rest + SETTLE, "DRAIN")
            # HAProxy stops sending after two failures, one probe before DEREGISTER is done.
            self.assertEqual(drain["detail"]["arrivedAfterDeregistration"], 0)

    def test_idle_goes_without_the_pool(self):
        self.serve_two("idle")
        self.assert_restarts_unnoticed(rest=IDLE)
        pooled = [phase_of(stop, "DRAIN")["detail"]["connectionsAtEnd"]
                  for name in self.services for stop in self.agent.stops(name)]
        self.assertGreater(sum(pooled), 0, "HAProxy kept no connection: `closed` would have done")

    def test_closed_where_no_connection_is_kept(self):
        self.serve_two("closed", backend=["option http-server-close", "http-reuse never"])
        self.assert_restarts_unnoticed(rest=0)

    @harness.unittest.skipUnless(WRK, "wrk isn't here")
    def test_at_full_speed(self):
        self.serve_two("idle", journals=False)
        wrk = self.start("wrk", [WRK, "--threads", 1, "--connections", 20, "--duration", "5s", "--timeout", "5s",
                                 f"http://127.0.0.1:{self.haproxy.port}/"])
        wait_until(lambda: self.haproxy.server("web1")["scur"], "the load")
        record = self.agent.ctl("stop", "web1", "--output", "json")
        self.assertTrue(wrk.running(), "the stop outlasted the load")
        self.assertEqual(wrk.wait(), 0)
        text = wrk.stdout()
        self.assertNotIn("Socket errors", text)
        self.assertNotIn("Non-2xx", text)
        self.assertGreater(int(re.search(r"(\d+) requests in", text)[1]), 1000)
        drain = phase_of(record, "DRAIN")
        self.assertEqual(drain["outcome"], "completed")
        self.assert_took(drain["durationMs"] / 1000, SETTLE, IDLE + SETTLE)


if __name__ == "__main__":
    harness.main()
