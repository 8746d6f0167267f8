"""A SIGTERM in the first microseconds of `agent run`: never lost, never hung."""
import concurrent.futures
import os
import random
import signal
import subprocess
import time

import harness

STARTS, AT_ONCE = 2000, 4
ISOLATED = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
LATEST = 0.003  # seconds after the start


def one(delay):
    """How an agent around `sleep` ends that gets SIGTERM after so many seconds."""
    run = subprocess.Popen([harness.AGENT, "run", "--", "sleep", "1000"], stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=harness.clean_environment())
    until = time.monotonic() + delay
    while time.monotonic() < until:
        pass
    run.send_signal(signal.SIGTERM)
    try:
        _, said = run.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        return "hung"
    return said.decode() or run.returncode


# But SIGKILL and SIGSTOP; also the two that libc keeps for itself.
EVERY_SIGNAL = (1 << 64) - 1 & ~(1 << signal.SIGKILL - 1 | 1 << signal.SIGSTOP - 1)


class FirstMoments(harness.LiveTest):
    def test_no_sigterm_is_lost(self):
        # Seeded, so that a failure can be repeated. One that comes before `main` ends the agent itself, as a
        # signal: the shell's code is the same, and no command was started.
        random.seed(3)
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            ends = list(pool.map(one, [random.uniform(0, LATEST) for _ in range(STARTS)]))
        counts = {end: ends.count(end) for end in set(ends)}
        self.assertEqual(set(counts) - {143, -signal.SIGTERM}, set(), counts)
        self.assertGreater(counts.get(143, 0), STARTS // 10, counts)  # the agent itself was met
        self.assertEqual(harness.descendants(), {})

    def test_the_first_signal_that_pid_1_can_have_is_kept(self):
        """The kernel drops a signal to an init that hasn't blocked it; from then on none may be lost."""
        if subprocess.run([*ISOLATED, "true"], capture_output=True, timeout=20).returncode:
            self.skipTest("cannot make a pid namespace here")
        for _ in range(60):
            run = self.agent_run("sleep", "1000", prefix=ISOLATED, AGENT_SOCKET="none")
            agent = harness.wait_until(lambda: blocking(run.pid), "the agent to block its signals")
            os.kill(agent, signal.SIGTERM)
            self.assertEqual(run.wait(), 143, run.stderr())


def blocking(parent):
    """The agent below `unshare`, once it has blocked every signal; a sanitizer's start blocks most for a moment."""
    try:
        with open(f"/proc/{parent}/task/{parent}/children") as children:
            child = int(children.read().split()[0])
        with open(f"/proc/{child}/status") as status:
            mask = next(int(line.split()[1], 16) for line in status if line.startswith("SigBlk"))
        name = os.readlink(f"/proc/{child}/exe")
    except (OSError, IndexError):
        return None
    return child if name == harness.AGENT and mask & EVERY_SIGNAL == EVERY_SIGNAL else None


if __name__ == "__main__":
    harness.main()
