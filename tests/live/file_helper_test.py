"""The helper in POSIX shell at work: an agent's tasks behind a real nginx that includes its file."""
import os
import shutil

import harness
from harness import ROOT, Agent, free_port, phase_of, phases_of, wait_until

NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
SETTLE = 0.5


@harness.unittest.skipUnless(NGINX, "nginx isn't here")
class FileHelper(harness.LiveTest):
    def start_nginx(self):
        self.front, room = free_port(), self.dir / "nginx"
        room.mkdir()
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "\n".join(f"    {kind}_temp_path {room}/{kind};" for kind in kinds)
        self.servers, config = room / "web.servers", room / "nginx.conf"
        self.servers.write_text("# nobody yet\n")
        config.write_text(f"""
daemon off;
user root;
worker_processes 1;
pid {room}/nginx.pid;
error_log {room}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
{temporary}
    upstream web {{ include {self.servers}; server 127.0.0.1:1 down; }}
    server {{ listen 127.0.0.1:{self.front}; location / {{ proxy_pass http://web; }} }}
}}
""".lstrip())
        self.start("nginx", [NGINX, "-e", room / "error.log", "-c", config])
        wait_until((room / "nginx.pid").exists, "nginx")
        check = f"{NGINX} -t -q -e {room}/error.log -c {config}"
        return f"{check} && kill -HUP $(cat {room}/nginx.pid)"

    def serve(self, name):
        port, journal = free_port(), self.journal(name)
        line = f"server+127.0.0.1:{port};"
        self.agent.run(name, *self.obedient(port, journal=journal), port=port, load_balancers=[
            f"file:?path={self.servers}&line={line}&settle={int(SETTLE * 1000)}ms"])
        wait_until(lambda: line.replace("+", " ") in self.lines(), f"{name} to be registered")
        return journal

    def lines(self):
        return self.servers.read_text().splitlines()

    def get(self, path="/"):
        client = harness.Client(self.front)
        try:
            return client.get(path)
        finally:
            client.close()

    def test_a_task_leaves_nginx_before_it_is_signalled(self):
        reload = self.start_nginx()
        self.agent = Agent(self, AGENT_HELPER_PATH=ROOT / "scripts/examples", LB_FILE_RELOAD=reload)
        first = self.serve("web1")
        # The worker from before the reload, which knows nobody, still takes a connection now and then.
        wait_until(lambda: all(self.get() == 200 for _ in range(50)), "nginx to serve web1")
        patient = harness.Client(self.front)
        patient.send("/delay/2000")
        wait_until(lambda: self.delayed(first), "the request to arrive")
        second = self.serve("web2")
        stopping = self.agent.start_ctl("stop", "web1", "--output", "json")
        wait_until(lambda: len(self.lines()) == 2, "web1 to be taken out")
        wait_until(lambda: self.agent.wait_phase("web1", "DRAIN"), "the drain")
        wait_until(lambda: self.all_go_to(second), "nginx to serve web2 alone")
        self.assertEqual(patient.response(), 200)
        self.assertEqual(stopping.wait(), 0, stopping.stderr())
        [record] = self.agent.stops("web1")
        self.assertEqual(record["outcome"], "graceful")
        self.assertEqual(phases_of(record), ["DEREGISTER", "DRAIN", "SIGTERM"])
        drain = phase_of(record, "DRAIN")
        self.assertEqual((drain["outcome"], drain["detail"]["connectionsAtEnd"]), ("completed", 0))
        answered = self.delayed(first)[0]["boot"] / 1e6 + 2.0
        self.assert_took(first.signalled() - answered, SETTLE, what="SIGTERM")

    def all_go_to(self, journal):
        before = len(journal.requests())
        self.assertEqual([self.get() for _ in range(20)], [200] * 20)
        return len(journal.requests()) - before == 20

    def delayed(self, journal):
        return [event for event in journal.requests() if event["path"].startswith("/delay/")]


if __name__ == "__main__":
    harness.main()
