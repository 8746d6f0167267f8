"""What every measure needs: the live tests' world, borrowed, and other people's programs."""
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "live"))
import harness  # noqa: E402


class World(harness.LiveTest):
    """A directory, processes, and an end to them all."""

    def runTest(self):
        """Nothing: this is no test, but a place to measure in."""

    def fresh(self, program, name=None):
        """A copy of a program: one that was just written starts quicker than an aged one, and
        shares its memory with nobody."""
        folder = self.dir / "fresh"
        folder.mkdir(exist_ok=True)
        copy = folder / (name or pathlib.Path(program).name)
        if not copy.exists():
            shutil.copy(program, copy)
            with open(copy, "rb") as file:
                os.fsync(file.fileno())  # else its pages count as dirty for half a minute
        return str(copy)

    def end(self):
        harness.kill_descendants()
        shutil.rmtree(self.dir, ignore_errors=True)


def inits(world):
    """How each init wraps a command, by the name that tables show; ours is the first.

    tini with -s: without it, it writes a warning, which takes time.
    """
    wrappings = {"agent run --": [world.fresh(harness.AGENT), "run", "--"]}
    for line in ("tini-static -s --", "tini -s --", "dumb-init --", "catatonit --"):
        program, *flags = line.split()
        wrappings[line] = [world.fresh(installed(program)), *flags]
    return wrappings


def installed(program):
    path = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if path is None:
        raise SystemExit(f"bench: no {program} here: scripts/setup installs it")
    return path


class Stopwatch:
    """tests/bench/stopwatch.cpp, on all CPUs or on one."""

    def __init__(self, prefix=()):
        self.process = subprocess.Popen([*prefix, str(harness.BIN / "stopwatch")], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def time(self, *words, code=0):
        """(wall, CPU) in milliseconds."""
        self.process.stdin.write("\t".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        wall, cpu, exit_code = self.process.stdout.readline().split()
        if int(exit_code) != code:
            raise RuntimeError(f"{' '.join(map(str, words))} ended with {exit_code}, not {code}")
        return float(wall) / 1000, float(cpu) / 1000

    def close(self):
        self.process.stdin.close()
        self.process.wait()
