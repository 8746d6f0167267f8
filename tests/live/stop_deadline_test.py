"""Somebody else will kill us: everything is planned to be over a second before."""
import signal

import harness
from harness import Client, Haproxy, boot_now, free_port, wait_until


class StopDeadline(harness.LiveTest):
    def stop_with_an_endless_connection(self, *service_options, **environment):
        """Seconds from SIGTERM at the agent to (the service's SIGTERM, the agent's end), and its exit code."""
        port = free_port()
        haproxy = Haproxy(self, {"web1": port})
        journal = self.journal()
        run = self.agent_run(*self.obedient(port, *service_options, journal=journal),
                             AGENT_LOAD_BALANCERS=haproxy.url("web1"), **environment)
        haproxy.wait_ready("web1")
        client = Client(haproxy.port).send("/hold")
        self.addCleanup(client.close)
        wait_until(journal.requests, "the request to arrive")
        asked = boot_now()
        run.signal(signal.SIGTERM)
        code = run.wait(30)
        return journal.signalled() - asked, boot_now() - asked, code

    def test_with_a_stop_timeout_the_signal_leaves_room_for_it(self):
        term, end, code = self.stop_with_an_endless_connection(
            AGENT_STOP_DEADLINE=10, ECS_CONTAINER_STOP_TIMEOUT=3)
        self.assert_took(term, 6, what="SIGTERM")
        self.assertEqual(code, 0)

    def test_without_one_half_of_what_is_left_is_for_each(self):
        term, end, code = self.stop_with_an_endless_connection("--ignore-term", AGENT_STOP_DEADLINE=10)
        self.assert_took(term, 4.5, what="SIGTERM")
        self.assert_took(end, 9, 9, what="SIGKILL")
        self.assertEqual(code, 128 + signal.SIGKILL)

    def test_with_a_stop_timeout_sigkill_comes_when_that_is_over(self):
        term, end, code = self.stop_with_an_endless_connection(
            "--ignore-term", AGENT_STOP_DEADLINE=6, ECS_CONTAINER_STOP_TIMEOUT=2)
        self.assert_took(term, 3, what="SIGTERM")
        self.assert_took(end, 5, what="SIGKILL")
        self.assertEqual(code, 128 + signal.SIGKILL)


if __name__ == "__main__":
    harness.main()
