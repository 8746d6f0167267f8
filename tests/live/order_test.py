"""SIGTERM comes when HAProxy has let go, and not one request is lost. Seen from outside."""
import harness
from harness import Agent, Haproxy, Load, boot_of, free_port, phase_of, server_of, wait_until


class Order(harness.LiveTest):
    def behind_haproxy(self, url_of):
        """Stops web1 of two under load; returns the record, web1's journal, and the load's counts and log."""
        ports = {"web1": free_port(), "web2": free_port()}
        haproxy = Haproxy(self, ports)
        agent = Agent(self, AGENT_DEREGISTRATION_DELAY=20)
        journal = self.journal()
        agent.run("web1", *self.obedient(ports["web1"], "--haproxy-on-term", haproxy.socket, journal=journal),
                  port=ports["web1"], load_balancers=[url_of(haproxy)])
        agent.run("web2", *self.obedient(ports["web2"]), port=ports["web2"],
                  load_balancers=[haproxy.url("web2")])
        haproxy.wait_ready("web1")
        load = Load(self, haproxy.port, "--slow-share", 0.07, "--slow-path", "/delay/1000", rate=300)
        wait_until(lambda: [r for r in journal.requests() if r["path"] == "/delay/1000"],
                   "a slow request in flight")
        record = agent.ctl("stop", "web1", "--output", "json")
        counts = load.finish()
        return record, journal, counts, load.requests()

    def check(self, record, journal, counts, sent):
        self.assertEqual(record["outcome"], "graceful")
        self.assertEqual(counts["failed"], 0, counts)
        self.assertGreater(counts["ok"], 100)

        answer = journal.events("haproxy")[0]["answer"]
        seen = server_of(answer, "web1")
        self.assertIn("admin_state", seen, answer)
        self.assertTrue(seen["admin_state"] & 0x09, seen)
        self.assertEqual((seen["scur"], seen["qcur"]), (0, 0), seen)

        deregister = phase_of(record, "DEREGISTER")
        acknowledged = boot_of(deregister["startedAt"]) + deregister["durationMs"] / 1000
        here = {request["id"] for request in journal.requests()}
        # 2 ms for what HAProxy's other thread had already decided: LOAD_BALANCERS section 1.7.
        late = [r for r in sent if r["sent"] / 1e6 > acknowledged + 0.002 and r["id"] in here]
        self.assertEqual(late, [])
        after = [r for r in sent if r["sent"] / 1e6 > acknowledged + 0.002]
        self.assertGreater(len(after), 20, "the load went on")

        term = journal.signalled()
        self.assertEqual([r for r in journal.requests() if r["boot"] / 1e6 > term], [])
        self.assertEqual(len(journal.requests()), len(journal.events("answer")), "all were answered")
        phases = [p["phase"] for p in record["phases"]]
        self.assertEqual(phases[:3], ["DEREGISTER", "DRAIN", "SIGTERM"])
        self.assertGreaterEqual(term, boot_of(phase_of(record, "SIGTERM")["startedAt"]) - 0.001)
        drain = phase_of(record, "DRAIN")
        self.assertEqual(drain["outcome"], "completed")
        self.assertEqual(drain["detail"]["connectionsAtEnd"], 0)
        self.assert_took(drain["durationMs"] / 1000, 0.1, 1.2, "the drain")

    def test_over_the_unix_socket(self):
        self.check(*self.behind_haproxy(lambda haproxy: haproxy.url("web1")))

    def test_over_tcp(self):
        self.check(*self.behind_haproxy(lambda haproxy: haproxy.tcp_url("web1")))


if __name__ == "__main__":
    harness.main()
