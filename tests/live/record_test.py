"""The record of a stop is the same wherever it is read: API, agentctl, SQLite, log."""
import json
import subprocess

import harness
from harness import Agent, Client, Haproxy, boot_of, free_port, phase_of, wait_until


class Record(harness.LiveTest):
    def stop_one(self):
        port = free_port()
        haproxy = Haproxy(self, {"web1": port})
        self.agent = Agent(self)
        journal = self.journal()
        self.agent.run("web1", *self.obedient(port, "--exit-code", 3, journal=journal), port=port,
                       load_balancers=[haproxy.url("web1")])
        haproxy.wait_ready("web1")
        client = Client(haproxy.port).send("/delay/700")
        wait_until(journal.requests, "the request to arrive")
        self.printed = self.agent.ctl("stop", "web1", "--reason", "a 'test' of \"words\"", "--output", "json")
        self.assertEqual(client.response(), 200)

    def test_every_fact_of_a_stop_is_there(self):
        self.stop_one()
        record = self.printed
        self.assertEqual(record["task"], "web1")
        self.assertEqual(record["stopCode"], "UserInitiated")
        self.assertEqual(record["stoppedReason"], "a 'test' of \"words\"")
        self.assertEqual(record["requestedBy"]["via"], "api")
        self.assertEqual(record["outcome"], "graceful")
        self.assertEqual(record["survivors"], 0)
        self.assertEqual(record["containers"][0]["exitCode"], 3)
        self.assertIsNone(record["containers"][0]["signal"])
        self.assertEqual(record["deregistrationDelayMs"], 300000)
        self.assertGreater(record["savedMs"], 290000)
        length = boot_of(record["stoppedAt"]) - boot_of(record["requestedAt"])
        self.assertAlmostEqual(length, record["durationMs"] / 1000, delta=0.05)
        for phase in record["phases"]:
            self.assertRegex(phase["startedAt"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
            self.assertEqual(phase["outcome"], "completed")
        drain = phase_of(record, "DRAIN")["detail"]
        self.assertEqual((drain["connectionsAtStart"], drain["connectionsAtEnd"]), (1, 0))

    def test_curl_agentctl_and_sqlite_say_the_same(self):
        self.stop_one()
        answer = subprocess.run(
            ["curl", "-sS", "--fail", "--unix-socket", self.agent.socket, "http://agent/v1/tasks/web1/stops"],
            capture_output=True, text=True, check=True, timeout=20).stdout
        record = json.loads(answer)["stops"][0]
        self.assertEqual(record, self.printed)
        self.assertEqual(self.agent.ctl("history", "web1", "--output", "json")["stops"][0], record)

        stop = self.select("select * from stops")[0]
        self.assertEqual(stop["task"], "web1")
        self.assertEqual(stop["outcome"], "graceful")
        self.assertIn(record["stoppedReason"], stop.values())
        phases = self.select("select * from phases")
        told = [(p["phase"], p["outcome"]) for p in record["phases"]]
        self.assertEqual([(p["phase"], p["outcome"]) for p in phases], told)

    def select(self, query):
        done = subprocess.run(["sqlite3", "-json", "-readonly", self.agent.data / "journal.db", query],
                              capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout or "[]")

    def test_the_log_has_a_line_a_phase(self):
        self.stop_one()
        log = self.agent.process.stderr()
        for phase in self.printed["phases"]:
            lines = [line for line in log.splitlines() if phase["phase"] in line and "web1" in line]
            self.assertTrue(lines, f"no line for {phase['phase']} in:\n{log}")

    def test_history_survives_the_agent(self):
        self.stop_one()
        self.agent.process.kill()
        again = Agent(self)
        self.assertEqual(again.ctl("history", "web1", "--output", "json")["stops"], [self.printed])

    def test_the_api_is_described(self):
        self.assertTrue((harness.ROOT / "docs").is_dir())
        text = (harness.ROOT / "docs/openapi.yaml").read_text()
        for path in ("/v1/tasks/{task}/stops", "/v1/tasks/{task}/stop", "/v1/metadata", "/v1/config"):
            self.assertIn(path, text)


if __name__ == "__main__":
    harness.main()
