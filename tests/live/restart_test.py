"""A task that starts again gets no traffic before it listens; one that fails its check still drains."""
import harness
from harness import Agent, Client, Haproxy, Load, boot_now, free_port, phase_of, wait_until


class Restart(harness.LiveTest):
    def test_ten_restarts_under_load_lose_no_request(self):
        ports = {"web1": free_port(), "web2": free_port()}
        haproxy = Haproxy(self, ports, check=True)
        agent = Agent(self, AGENT_DEREGISTRATION_DELAY=20)
        journals = {name: self.journal(name) for name in ports}
        for name, port in ports.items():
            agent.run(name, *self.obedient(port, "--listen-after", 200, journal=journals[name]),
                      port=port, load_balancers=[haproxy.url(name)])
            haproxy.wait_ready(name)
        load = Load(self, haproxy.port, "--slow-share", 0.02, "--slow-path", "/delay/300", rate=200)
        for count in range(10):
            name = ("web1", "web2")[count % 2]
            served = len(journals[name].requests())
            wait_until(lambda: len(journals[name].requests()) > served, f"{name} to serve")
            agent.ctl("restart", name)
            haproxy.wait_ready(name)
        counts = load.finish()
        self.assertEqual(counts["failed"], 0, counts)
        self.assertGreater(counts["ok"], 500)
        for name, journal in journals.items():
            self.assertEqual(len(journal.events("listening")), 6)
            self.assertEqual(len(agent.stops(name)), 5)
            self.assertTrue(all(stop["outcome"] == "graceful" for stop in agent.stops(name)))
            listening = False
            for event in journal.events():
                listening = event["event"] == "listening" or listening and event["event"] != "exit"
                self.assertTrue(listening or event["event"] != "request", "a request before it listened")

    def test_a_server_shown_down_ends_its_drain_with_the_last_session(self):
        port = free_port()
        haproxy = Haproxy(self, {"web1": port}, check=True)
        agent = Agent(self, AGENT_DEREGISTRATION_DELAY=60, AGENT_DRAIN_SIGNAL="USR1")
        journal = self.journal()
        agent.run("web1", *self.obedient(port, "--fail-check-on", "USR1", journal=journal), port=port,
                  load_balancers=[haproxy.url("web1")])
        haproxy.wait_ready("web1")
        client = Client(haproxy.port).send("/delay/2500")
        wait_until(journal.requests, "the request to arrive")
        asked = boot_now()
        stop = agent.start_ctl("stop", "web1", "--output", "json")
        wait_until(lambda: haproxy.server("web1")["status"].startswith("DOWN"), "HAProxy to show DOWN")
        self.assertEqual(haproxy.server("web1")["scur"], 1)
        self.assertIsNone(journal.signalled())
        self.assertEqual(client.response(), 200)
        self.assertEqual(stop.wait(), 0)
        drain = phase_of(agent.stops("web1")[0], "DRAIN")
        self.assertEqual(drain["outcome"], "completed")
        self.assert_took(journal.signalled() - asked, 2.2, 3, "SIGTERM")


if __name__ == "__main__":
    harness.main()
