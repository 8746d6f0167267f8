"""A client that never leaves: the delay ends the drain, or a person does, and the record says which."""
import os

import harness
from harness import Agent, Client, Haproxy, boot_now, boot_of, free_port, phase_of, wait_until


class DrainTimeout(harness.LiveTest):
    def serve_one(self, delay, load_balancer, service_options=()):
        """web1, registered, and the journal of its service."""
        self.port = free_port()
        self.agent = Agent(self, AGENT_DEREGISTRATION_DELAY=delay)
        journal = self.journal()
        self.agent.run("web1", *self.obedient(self.port, *service_options, journal=journal),
                       port=self.port, load_balancers=[load_balancer(self.port)])
        wait_until(lambda: journal.events("listening"), "the service to listen")
        return journal

    def behind_haproxy(self, delay):
        def load_balancer(port):
            self.haproxy = Haproxy(self, {"web1": port})
            return self.haproxy.url("web1")
        journal = self.serve_one(delay, load_balancer)
        self.haproxy.wait_ready("web1")
        return journal

    def held_request(self, journal):
        client = Client(self.haproxy.port).send("/hold")
        self.addCleanup(client.close)
        wait_until(lambda: [r for r in journal.requests() if r["path"] == "/hold"], "the request to arrive")
        return client

    def test_the_delay_ends_it_and_the_number_left_is_told(self):
        journal = self.behind_haproxy(delay=3)
        self.held_request(journal)
        asked = boot_now()
        record = self.agent.ctl("stop", "web1", "--output", "json")
        drain = phase_of(record, "DRAIN")
        self.assertEqual(drain["outcome"], "timed_out")
        self.assertEqual(drain["detail"]["connectionsAtEnd"], 1)
        self.assert_took(journal.signalled() - asked, 3, what="SIGTERM")
        self.assertEqual(record["deregistrationDelayMs"], 3000)

    def test_a_keep_alive_connection_at_rest_counts_where_only_the_kernel_knows(self):
        probe_port = free_port()
        journal = self.serve_one(3, lambda port: f"readiness://127.0.0.1:{probe_port}/ready?settle=100ms")
        client = Client(self.port)
        self.addCleanup(client.close)
        self.assertEqual(client.get("/"), 200)
        asked = boot_now()
        record = self.agent.ctl("stop", "web1", "--output", "json")
        drain = phase_of(record, "DRAIN")
        self.assertEqual(drain["outcome"], "timed_out")
        self.assertEqual(drain["detail"]["connectionsAtEnd"], 1)
        self.assert_took(journal.signalled() - asked, 3, what="SIGTERM")

    def test_a_connection_that_closes_ends_it_early(self):
        probe_port = free_port()
        journal = self.serve_one(60, lambda port: f"readiness://127.0.0.1:{probe_port}/ready?settle=100ms")
        client = Client(self.port)
        self.assertEqual(client.get("/"), 200)
        stop = self.agent.start_ctl("stop", "web1", "--output", "json")
        self.agent.wait_phase("web1", "DRAIN")
        self.assertIsNone(journal.signalled())
        client.close()
        closed = boot_now()
        self.assertEqual(stop.wait(), 0)
        self.assert_took(journal.signalled() - closed, 0.1, 0.5, "SIGTERM after the last close")

    def test_a_second_stop_without_drain_ends_it_at_once_and_the_record_says_who(self):
        journal = self.behind_haproxy(delay=120)
        self.held_request(journal)
        first = self.agent.start_ctl("stop", "web1", "--output", "json")
        self.agent.wait_phase("web1", "DRAIN")
        self.assertIsNone(journal.signalled())
        asked = boot_now()
        second = self.agent.start_ctl("stop", "web1", "--no-drain", "--output", "json")
        self.assertEqual(second.wait(), 0)
        self.assertEqual(first.wait(), 0)
        self.assert_took(journal.signalled() - asked, 0, 0.5, "SIGTERM")
        record = self.agent.stops("web1")[0]
        self.assertEqual(record["requestedBy"]["pid"], first.pid)
        drain = phase_of(record, "DRAIN")
        self.assertEqual(drain["outcome"], "interrupted")
        self.assertEqual(drain["detail"]["connectionsAtEnd"], 1)
        who = " ".join(str(value) for value in drain["detail"].values())
        self.assertIn(f"uid {os.getuid()}", who)
        self.assertIn(f"pid {second.pid}", who)

    def test_a_second_stop_never_lengthens(self):
        journal = self.behind_haproxy(delay=3)
        self.held_request(journal)
        asked = boot_now()
        first = self.agent.start_ctl("stop", "web1")
        self.agent.wait_phase("web1", "DRAIN")
        second = self.agent.start_ctl("stop", "web1", "--drain-timeout", "60s")
        self.assertEqual((first.wait(), second.wait()), (0, 0))
        self.assert_took(journal.signalled() - asked, 3, what="SIGTERM")

    def test_the_first_stop_may_ask_for_a_shorter_drain(self):
        journal = self.behind_haproxy(delay=120)
        self.held_request(journal)
        asked = boot_now()
        record = self.agent.ctl("stop", "web1", "--drain-timeout", "1s", "--output", "json")
        self.assert_took(journal.signalled() - asked, 1, what="SIGTERM")
        self.assertEqual(phase_of(record, "DRAIN")["outcome"], "timed_out")

    def test_force_kills_at_once(self):
        journal = self.behind_haproxy(delay=120)
        self.held_request(journal)
        first = self.agent.start_ctl("stop", "web1")
        self.agent.wait_phase("web1", "DRAIN")
        asked = boot_now()
        record = self.agent.ctl("stop", "web1", "--force", "--output", "json")
        self.assertEqual(first.wait(), 0)
        self.assertEqual(record["outcome"], "killed")
        self.assertEqual(record["containers"][0]["signal"], "SIGKILL")
        self.assertIsNone(journal.signalled())
        self.assert_took(boot_of(record["stoppedAt"]) - asked, 0, 0.5, "the end")


if __name__ == "__main__":
    harness.main()
