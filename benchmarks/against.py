"""This checkout beside another commit's, and beside itself as a control; CPU time, in turns.

Each of several starts puts the three into fresh processes on the same core, as the memory that
a process happens to get can make it faster or slower from its start to its end.
"""

import statistics
import subprocess
import tempfile
from contextlib import contextmanager
from math import comb
from pathlib import Path

from . import measure

HERE = Path(__file__).parents[1]


@contextmanager
def checkout(commit):
    """The folder of a work tree of the commit, for as long as it is needed."""
    git = ["git", "-C", str(HERE), "worktree"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "old"
        subprocess.run([*git, "add", "--detach", path, commit], check=True, capture_output=True)
        try:
            yield path
        finally:
            subprocess.run([*git, "remove", "--force", path], check=True)


def interval(ratios):
    """The median, and the ends of its 95 % interval by the sign test: all ratios but as many at
    each end as leave the true median out in less than 2.5 % of cases. Less than six ratios are
    never that sure: then it is (0, inf)."""
    n, ratios = len(ratios), sorted(ratios)
    out = sum(sum(comb(n, i) for i in range(k + 1)) <= 0.025 * 2**n for k in range(n // 2))
    ends = (ratios[out - 1], ratios[n - out]) if out else (0.0, float("inf"))
    return statistics.median(ratios), *ends


def ratios(old, names, starts, rounds, seconds, scale=lambda name: 1.0):
    """For each workload, and "import", this checkout's times over those of the one at `old`,
    and over its own: name -> (ratios, control)."""
    folders = {"new": HERE, "old": old, "again": HERE}
    found = {name: ([], []) for name in names}
    for _ in range(starts):
        workers = {key: measure.Worker("tinygrad_lite", path) for key, path in folders.items()}
        for name in names:
            if name == "import":
                times = measure.compare_imports(folders, rounds)
            else:
                times = measure.compare(workers, name, scale(name), rounds, seconds)
            for ratios, key in zip(found[name], ("old", "again"), strict=True):
                ratios += [a / b for a, b in zip(times["new"], times[key], strict=True)]
        for worker in workers.values():
            worker.close()
    return found
