"""What wrapping a command costs, beside the inits that people use."""
from table import COMPARED, Table, compared
from world import Stopwatch, inits

CLAIM = "tini-static -s --"  # the smallest init there is


def wrapping(world, options):
    rows = []
    for place, prefix in (("all CPUs", ()), ("one CPU", ("taskset", "-c", "0"))):
        wall, cpu = rounds(world, prefix, options.rounds)
        ours, *others = wall
        for other in (CLAIM, *(name for name in others if name != CLAIM)):
            rows.append(compared(f"wall time, {place}", ours, wall[ours], other, wall[other]))
        rows.append(compared(f"CPU time, {place}", ours, cpu[ours], CLAIM, cpu[CLAIM]))
    return Table(
        "Wrapping a command",
        "From vfork to the end of `INIT /bin/true`, output thrown away, seen by a parent in C++. Every round runs all of them in "
        "turn, each round beginning with another one; the programs are fresh copies. The CPU time is the whole process tree's. "
        "`bare` is `/bin/true` alone.",
        COMPARED, rows, words=(0, 1, 4))


def rounds(world, prefix, count):
    """(wall, CPU) milliseconds of each init's rounds, by its name."""
    true = world.fresh("/bin/true")
    commands = {name: [*words, true] for name, words in inits(world).items()} | {"bare": [true]}
    wall, cpu = ({name: [] for name in commands} for _ in range(2))
    order = list(commands)
    watch = Stopwatch(prefix)
    for number in range(-1, count):  # one to warm up
        for name in order:
            figures = watch.time(*commands[name])
            if number >= 0:
                wall[name].append(figures[0])
                cpu[name].append(figures[1])
        order = order[1:] + order[:1]
    watch.close()
    return wall, cpu
