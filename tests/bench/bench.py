#!/usr/bin/env python3
"""What Lastcall costs and how quick it is, each beside others: interleaved, in one run.

Ratios of one run are what counts: the machine changes from day to day, and both sides with it.
"""
import argparse
import os
import platform
import signal

from adopting import adopting
from behind_aws import alb_stop, scale_in
from draining import close_to_sigterm, crowd, many_draining
from idle import idle
from journal_cost import journal_cost
from kill_lateness import kill_lateness
from size import size
from stops import stop
from table import wrapped
from world import World
from wrapping import wrapping

MEASURES = {"wrapping": wrapping, "idle": idle, "stop": stop, "drain": close_to_sigterm, "crowd": crowd,
            "drains": many_draining, "adopting": adopting, "journal": journal_cost, "aws": scale_in, "alb": alb_stop,
            "kill": kill_lateness, "size": size}


def measured(name, options):
    world = World()
    world.setUp()
    try:
        return MEASURES[name](world, options)
    finally:
        world.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markdown", action="store_true", help="print docs/BENCHMARKS.md")
    parser.add_argument("--rounds", type=int, default=250, help="of the wrapping; the stop takes two fifths, the drain twice as many")
    parser.add_argument("--batches", type=int, default=3, help="of 40 stubborn tasks each")
    parser.add_argument("--only", action="append", choices=MEASURES, help="repeatable; else all are measured")
    options = parser.parse_args()
    for key in [key for key in os.environ if key.startswith(("AGENT_", "ECS_", "LASTCALL_TASK"))]:
        del os.environ[key]

    World.setUpClass()
    signal.alarm(900)
    tables = [measured(name, options) for name in options.only or MEASURES]

    machine = f"{platform.system()} {platform.release()}, {os.cpu_count()} CPUs, {options.rounds} rounds, interleaved"
    if options.markdown:
        print("# Benchmarks\n")
        print(wrapped("Made by `scripts/bench --markdown`. All sides of a row are run in turn in the same minutes on the same machine; "
                      "the ratio is the median of the rounds' ratios. Absolute times change from machine to machine and from day to "
                      "day: compare ratios only."))
        print(f"\n{machine}")
    else:
        print(machine)
    for table in tables:
        print("\n" + (table.markdown() if options.markdown else table.text()))


if __name__ == "__main__":
    main()
