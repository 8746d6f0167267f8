"""nginx as the service, with keep-alive clients: `closed` waits for them, `idle` doesn't."""
import os
import shutil

import drains
from harness import boot_now, free_port, phase_of, phases_of, wait_until

NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")


class Nginx(drains.DrainTest):
    def serve_nginx(self, drain, delay):
        self.start_agent(drain=drain, delay=delay, AGENT_STOP_SIGNAL="QUIT")
        self.port = free_port()
        folder = self.dir / "nginx"
        folder.mkdir()
        folder.chmod(0o755)
        (folder / "index.html").write_text("hello\n")
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "\n".join(f"    {kind}_temp_path {folder}/{kind};" for kind in kinds)
        config = folder / "nginx.conf"
        config.write_text(f"""
daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    keepalive_timeout 75s;
    access_log {folder}/access.log;
{temporary}
    server {{
        listen 127.0.0.1:{self.port};
        root {folder};
    }}
}}
""".lstrip())
        self.agent.run("web", NGINX, "-e", folder / "error.log", "-c", config,
                       load_balancers=[self.readiness()])
        self.wait_registered()

    def guest(self):
        """A client with a keep-alive connection at rest, and since when it is."""
        client = self.client()
        self.assertEqual(client.get("/"), 200)
        return client, boot_now()

    def assert_left_gracefully(self, record, client):
        self.assertEqual(record["outcome"], "graceful")
        self.assertEqual(phases_of(record), ["DEREGISTER", "DRAIN", "SIGTERM"])
        self.assertEqual(phase_of(record, "SIGTERM")["detail"]["signal"], "SIGQUIT")
        self.assertEqual(record["containers"][0]["exitCode"], 0)
        wait_until(client.closed, "nginx to close the connection")

    def test_closed_waits_until_the_client_leaves(self):
        self.serve_nginx("closed", delay=30)
        client, _ = self.guest()
        other, _ = self.guest()
        self.begin_stop()
        other.close()
        stay = boot_now() + 2
        wait_until(lambda: boot_now() >= stay or not self.drains(), "two seconds")
        self.assertTrue(self.drains())
        self.assertEqual(client.get("/"), 200)
        client.close()
        closed = boot_now()
        record, drain = self.end_stop()
        self.assertEqual(record["outcome"], "graceful")
        self.assertEqual((drain["outcome"], drain["detail"]["connectionsPeak"]), ("completed", 2))
        self.assert_took(self.ended(drain) - closed, self.settle, what="the end of DRAIN")

    def test_closed_waits_out_the_delay_and_says_what_idle_would_have_saved(self):
        self.serve_nginx("closed", delay=4)
        client, rests = self.guest()
        self.begin_stop()
        record, drain = self.end_stop()
        self.assert_left_gracefully(record, client)
        detail = drain["detail"]
        self.assertEqual((drain["outcome"], detail["connectionsAtEnd"]), ("timed_out", 1))
        self.assert_took(drain["durationMs"] / 1000, 4)
        rested = self.ended(drain) - rests
        self.assertAlmostEqual(detail["atRestMs"] / 1000, rested, delta=0.25)
        self.assertAlmostEqual(detail["idleWouldHaveSavedMs"] / 1000, rested - self.IDLE, delta=0.25)
        self.assertEqual(detail["peers"], "127.0.0.1")
        self.assertEqual(detail["limit"], "deregistration delay")

    def test_idle_ends_when_it_has_been_quiet_for_long_enough(self):
        self.serve_nginx("idle", delay=30)
        client, _ = self.guest()
        self.begin_stop()
        self.assertEqual(client.get("/"), 200)
        rests = boot_now()
        record, drain = self.end_stop()
        self.assert_left_gracefully(record, client)
        self.assertEqual((drain["outcome"], drain["detail"]["connectionsAtEnd"]), ("completed", 1))
        self.assert_took(self.ended(drain) - rests, self.IDLE + self.settle - 0.01, what="the end of DRAIN")
        self.assertGreater(record["savedMs"], 25000)
        # Both are in the journal, for those who ask later.
        self.assertEqual(self.agent.stops("web")[0], record)

    def ended(self, phase):
        return drains.harness.boot_of(phase["startedAt"]) + phase["durationMs"] / 1000


if __name__ == "__main__":
    drains.harness.main()
