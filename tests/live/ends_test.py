"""How a main process ended, told apart in the record."""
import os
import pathlib
import signal

import harness
from harness import wait_until
from tree import TreeTest, alive


class Ends(TreeTest):
    def ends(self, agent, *names):
        """What each task's record says of its main process."""
        for name in names:
            agent.wait_status(name, "STOPPED")
        return {name: agent.stops(name)[0]["containers"][0] for name in names}

    def shell(self, agent, name, script):
        agent.run(name, "sh", "-c", script, flags=["--chdir", self.dir])

    def test_a_code_a_signal_and_who_sent_it(self):
        for cgroups in (True, False):
            with self.subTest(cgroups=cgroups):
                agent = self.serve(cgroups)
                self.shell(agent, "code", "exit 9")
                self.shell(agent, "as-if-killed", "exit 137")
                self.shell(agent, "fault", "ulimit -c 0; kill -SEGV $$")
                self.shell(agent, "core", "ulimit -c unlimited; kill -ABRT $$")
                tags = {name: self.tag() for name in ("obeys", "ignores", "struck")}
                for name, tag in tags.items():
                    self.shell(agent, name, ("trap '' TERM; " if name == "ignores" else "") + f"exec sleep {tag}")
                    wait_until(lambda: alive(tag), name)
                os.kill(alive(tags["struck"])[0], signal.SIGKILL)
                self.stop_all_at_once([(agent.socket, "obeys"), (agent.socket, "ignores")])
                ends = self.ends(agent, "code", "as-if-killed", "fault", "core", *tags)
                told = {name: (end["exitCode"], end["signal"], end["killedBy"]) for name, end in ends.items()}
                self.assertEqual(told, {"code": (9, None, None), "as-if-killed": (137, None, None),
                                        "fault": (None, "SIGSEGV", None), "core": (None, "SIGABRT", None),
                                        "obeys": (None, "SIGTERM", "SIGTERM"), "ignores": (None, "SIGKILL", "SIGKILL"),
                                        "struck": (None, "SIGKILL", "SomebodyElse")})
                self.assertNotIn("coreDumped", ends["fault"])
                warnings = [line for line in agent.process.stderr().splitlines() if 'killedBy="SomebodyElse"' in line]
                self.assertEqual(len(warnings), 1, agent.process.stderr())
                self.assertIn("level=warn", warnings[0])
                self.assertIn('task="struck"', warnings[0])
                self.assertIn('exitSignal="SIGKILL"', warnings[0])
                if "coreDumped" not in ends["core"]:
                    pattern = pathlib.Path("/proc/sys/kernel/core_pattern").read_text()
                    self.skipTest(f"no core is dumped here: {pattern}")
                self.assertTrue(ends["core"]["coreDumped"])

    def test_sigterm_from_elsewhere_is_not_ours_even_if_a_stop_follows(self):
        agent = self.serve(False)
        tag = self.tag()
        self.shell(agent, "struck", f"(setsid sleep {tag} &); exec sleep {tag}")
        wait_until(lambda: len(alive(tag)) == 2, "both")
        os.kill(agent.task("struck")["containers"][0]["pid"], signal.SIGTERM)
        end = self.ends(agent, "struck")["struck"]
        self.assertEqual((end["signal"], end["killedBy"]), ("SIGTERM", "SomebodyElse"))
        self.assertEqual(alive(tag), [])


if __name__ == "__main__":
    harness.main()
