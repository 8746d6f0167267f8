"""What was measured, as a table and the words that explain it: for a terminal, or for docs/BENCHMARKS.md."""
import dataclasses
import statistics
import textwrap

COMPARED = ("what", "ours", "p50 ms", "p99 ms", "beside", "p50 ms", "p99 ms", "paired ratio")


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def compared(what, our_name, ours, their_name, theirs):
    """A row of COMPARED: two lists of milliseconds, taken in turn."""
    # Of each round, then their median: what disturbs a round disturbs both sides of it.
    ratio = statistics.median(a / b for a, b in zip(ours, theirs) if b > 0)
    return (what, f"`{our_name}`", f"{statistics.median(ours):.2f}", f"{percentile(ours, 0.99):.2f}", f"`{their_name}`",
            f"{statistics.median(theirs):.2f}", f"{percentile(theirs, 0.99):.2f}", f"{ratio:.2f}")


@dataclasses.dataclass
class Table:
    title: str
    prose: str  # what the rows mean, how they were measured
    head: tuple
    rows: list
    words: tuple = (0,)  # the columns that hold words; the others hold figures

    def markdown(self):
        rule = ("---" if column in self.words else "---:" for column in range(len(self.head)))
        lines = [self.head, tuple(rule), *self.rows]
        return "\n".join([f"## {self.title}", "", wrapped(self.prose), "",
                          *("| " + " | ".join(line) + " |" for line in lines)])

    def text(self):
        lines = [self.head, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.head))]
        drawn = ["  ".join(word.ljust(width) if column in self.words else word.rjust(width)
                           for column, (word, width) in enumerate(zip(line, widths))).rstrip() for line in lines]
        return "\n".join([self.title, "", *drawn]).replace("`", "")


def wrapped(prose):
    return textwrap.fill(prose, 135, break_long_words=False, break_on_hyphens=False)
