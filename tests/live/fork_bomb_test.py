"""A fork bomb in a task: a stop wins, and nobody else is hit."""
import os
import unittest

import harness
from harness import wait_until
from tree import ISOLATED, STOP_TIMEOUT, TreeTest, alive, field


@unittest.skipUnless(os.geteuid() == 0, "a limit on processes is another user's")
class ForkBomb(TreeTest):
    """Sixty processes of a user who may have no more, each becoming a fresh one when it can't fork."""

    user, limit = 54321, 60

    def bombers(self):
        """Zombies too: they count for the limit."""
        return [pid for pid in harness.descendants() if (field(pid, "Uid") or "").startswith(f"{self.user}\t")]

    def fork_bomb(self, cgroups, prelude):
        """(agent with a bomb in it, and beside it a task that nothing may happen to; that one's tag)."""
        bomb = """trap 'exec sh -c "$BOMB"' EXIT; while :; do sh -c "$BOMB" & done"""
        # PID 1 of the bomb's namespace dies with the test, and everybody with it.
        agent = self.serve(cgroups, prefix=[*ISOLATED, "sh", "-c", '"$@"; exit $?', "sh"])
        bystander = self.tag()
        agent.run("bystander", "sh", "-c", f"(setsid sleep {bystander} &); exec sleep {bystander}")
        wait_until(lambda: len(alive(bystander)) == 2, "the bystander")
        script = prelude + """sh -c "trap '' TERM; $BOMB" 2>/dev/null & exec sleep 60"""
        agent.run("bomb", "prlimit", f"--nproc={self.limit}", "setpriv", f"--reuid={self.user}",
                  f"--regid={self.user}", "--clear-groups", "sh", "-c", script, flags=["--env", f"BOMB={bomb}"])
        wait_until(lambda: len(self.bombers()) >= self.limit * 0.9, "the bomb to grow")
        return agent, bystander

    def check_stop(self, cgroups, prelude, ended_by):
        agent, bystander = self.fork_bomb(cgroups, prelude)
        (record, took), = self.stop_all_at_once([(agent.socket, "bomb")])
        self.assertEqual(self.bombers(), [])
        self.assertEqual(len(alive(bystander)), 2)
        self.assert_took(took, STOP_TIMEOUT, STOP_TIMEOUT + 2, "the stop")
        self.assertEqual((record["outcome"], record["survivors"]), ("killed", 0))
        self.assertEqual(record["containers"][0]["killedBy"], ended_by)

    def test_a_stop_wins(self):
        for cgroups in (True, False):
            with self.subTest(cgroups=cgroups):
                self.check_stop(cgroups, "trap '' TERM; ", "SIGKILL")

    def test_a_stop_wins_when_the_main_process_has_gone_first(self):
        for cgroups in (True, False):
            with self.subTest(cgroups=cgroups):
                self.check_stop(cgroups, "", "SIGTERM")


if __name__ == "__main__":
    harness.main()
