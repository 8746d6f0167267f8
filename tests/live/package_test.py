"""The Debian package: what is in it, and that installing it over an older one loses nothing."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import harness
from harness import Agent

BUILD = harness.BIN.parent
POSTINST = harness.ROOT / "scripts/packaging/debian/postinst"


def is_release():
    cache = BUILD / "CMakeCache.txt"
    return cache.exists() and "LASTCALL_SANITIZE:BOOL=OFF" in cache.read_text()


@unittest.skipUnless(shutil.which("cpack") and shutil.which("dpkg-deb") and is_release(),
                     "packages are made of the release build, where cpack and dpkg-deb are")
class ContentsTest(harness.LiveTest):
    def test_what_is_in_the_package(self):
        done = subprocess.run(["cpack", "-G", "DEB", "-B", self.dir / "packages"], cwd=BUILD,
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        package, = (self.dir / "packages").glob("lastcall_*.deb")
        listing = subprocess.run(["dpkg-deb", "--contents", package], capture_output=True, text=True, check=True).stdout
        files = {line.split()[5][1:]: line.split()[0:2] for line in listing.splitlines() if not line.endswith("/")}
        self.assertEqual(set(files), {
            "/usr/bin/agent", "/usr/bin/agentctl", "/usr/libexec/lastcall/agent-lb-aws",
            "/usr/libexec/lastcall/agent-lb-elbv2", "/usr/libexec/lastcall/agent-lb-elb", "/usr/lib/systemd/system/lastcall.service",
            "/usr/share/doc/lastcall/README.md", "/usr/share/doc/lastcall/LICENSE"})
        self.assertEqual(files["/usr/bin/agent"], ["-rwxr-xr-x", "root/root"])
        self.assertEqual(files["/usr/lib/systemd/system/lastcall.service"], ["-rw-r--r--", "root/root"])
        control = self.dir / "control"
        subprocess.run(["dpkg-deb", "--control", package, control], check=True)
        for script in ("postinst", "prerm", "postrm"):
            self.assertTrue(os.access(control / script, os.X_OK), script)
            subprocess.run(["sh", "-n", control / script], check=True)
        fields = (control / "control").read_text()
        self.assertIn("Package: lastcall\n", fields)
        self.assertNotIn("Depends:", fields)  # agent and agentctl are static
        self.assertIn("Recommends: libcurl4", fields)  # agent-lb-aws isn't
        tree = self.dir / "tree"
        subprocess.run(["dpkg-deb", "--extract", package, tree], check=True)
        text = subprocess.run([tree / "usr/bin/agent", "version"], capture_output=True, text=True, check=True).stdout
        self.assertIn(text.split()[1], fields)


class PostinstTest(harness.LiveTest):
    def postinst(self, *words, socket, ctl=harness.AGENTCTL):
        return subprocess.run(
            ["sh", POSTINST, *words], capture_output=True, text=True,
            env=harness.clean_environment(LASTCALL_AGENTCTL=ctl, AGENT_SOCKET=socket,
                                          LASTCALL_SYSTEMD_RUN=self.dir / "no-systemd"))

    def serve(self):
        binary = self.dir / "agent"
        shutil.copy(harness.AGENT, binary)
        return binary, Agent(self, binary=binary)

    def started_at(self, agent):
        return agent.request("GET", "/v1/metadata")[1]["startedAt"]

    def test_an_agent_that_runs_is_upgraded(self):
        _, agent = self.serve()
        before = self.started_at(agent)
        done = self.postinst("configure", "0.0.9", socket=agent.socket)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"^agent \S+ -> \S+, pid \d+ as before")
        self.assertNotEqual(self.started_at(agent), before)

    def test_where_none_runs_nothing_is_started(self):
        done = self.postinst("configure", socket=self.dir / "nobody.sock")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        _, agent = self.serve()
        agent.process.kill()
        self.assertTrue(agent.socket.exists())
        done = self.postinst("configure", socket=agent.socket)
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertFalse(harness.answers(agent.socket))

    def test_a_binary_that_cannot_take_over_fails_no_installation(self):
        binary, agent = self.serve()
        before = self.started_at(agent)
        bad = self.dir / "bad"
        bad.write_text("#!/bin/sh\necho 'agent: broken' >&2; exit 1\n")
        bad.chmod(0o755)
        bad.rename(binary)
        done = self.postinst("configure", "0.0.9", socket=agent.socket)
        self.assertEqual(done.returncode, 0)
        self.assertIn("broken", done.stderr)
        self.assertIn("the old agent goes on", done.stderr)
        self.assertEqual(self.started_at(agent), before)

    def test_an_agent_that_wraps_a_command_is_left_alone(self):
        socket = self.dir / "run.sock"
        self.agent_run("sleep", "60", AGENT_SOCKET=socket)
        harness.wait_until(lambda: harness.answers(socket), "the socket")
        done = self.postinst("configure", "0.0.9", socket=socket)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))


if __name__ == "__main__":
    harness.main()
