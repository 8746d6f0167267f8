"""How large the programs are."""
import os
import pathlib
import shutil
import subprocess

from table import Table
from world import harness, installed


def size(world, _):
    ours = [harness.AGENT, harness.AGENTCTL]
    theirs = [installed(name) for name in ("tini-static", "tini", "dumb-init", "catatonit")]
    rows = [(f"`{pathlib.Path(program).name}`", f"{stripped_size(world, program):,}") for program in (*ours, *theirs)]
    return Table("Size", "Of the stripped programs. `agent`, `agentctl` and `tini-static`, `catatonit` need no shared library.",
                 ("program", "bytes"), rows)


def stripped_size(world, program):
    """Without symbols, whoever has built it how."""
    copy = world.dir / "stripped"
    shutil.copy(program, copy)
    tool = shutil.which("strip") or shutil.which("llvm-strip-19")
    if tool:
        subprocess.run([tool, copy], check=True)
    return os.stat(copy).st_size
