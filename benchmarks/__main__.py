"""Tables of time and memory, on stdout, beside NumPy by hand and the engine's peers."""

import argparse
import platform
import statistics
import sys

import numpy as np

from . import against, measure
from .data import SIZES, WHAT, conv_grid


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="small and few: are the gradients right?"
    )
    parts = [*WHAT, "chain", "import", "memory", "gradients", "analyses", "history"]
    parts += ["growth", "conv", "sizes", "again", "from_torch"]
    parser.add_argument(
        "--only", nargs="+", choices=parts, default=parts, metavar="PART", help=" ".join(parts)
    )
    found = measure.installed()
    parser.add_argument(
        "--engines", nargs="+", choices=found, default=found, metavar="ENGINE", help=" ".join(found)
    )
    parser.add_argument(
        "--against", metavar="COMMIT", help="how this checkout's times compare with a commit's"
    )
    parser.add_argument(
        "--grid", action="store_true", help="with --against: the convolutions, not the workloads"
    )
    options = parser.parse_args(arguments)
    measure.one_core()
    if options.against:
        parts = [name for name in [*WHAT, "import"] if name in options.only]
        names = list(conv_grid(options.quick)) if options.grid else parts
        return changes(options.against, names, 1.3 if options.grid else 1.05, options.quick)
    found = options.engines
    print(
        f"{platform.machine()}, CPython {platform.python_version()}, NumPy {np.__version__}; "
        "one core, one thread, CPU time; medians of ratios within a round\n"
    )
    workers = {engine: measure.Worker(engine) for engine in found}
    workloads(workers, [name for name in WHAT if name in options.only], options.quick)
    if "sizes" in options.only:
        sizes(workers, options.quick)
    if "conv" in options.only:
        grid(workers, options.quick)
    for worker in workers.values():
        worker.close()
    if "chain" in options.only:
        chains(found, [100] if options.quick else [10**3, 10**4, 10**5, 10**6], options.quick)
    if "import" in options.only:
        imports(found, 1 if options.quick else 11)
    if "memory" in options.only and sys.platform == "linux":
        memory(found, 0.25 if options.quick else 1.0)
    if "gradients" in options.only:
        gradients(0.01 if options.quick else 0.2)
    if "analyses" in options.only:
        analyses([3] if options.quick else [10, 25, 50], 0.01 if options.quick else 0.2)
    if "history" in options.only:
        histories(*(([*measure.TRAINED][:1], 1) if options.quick else (measure.TRAINED, 15)))
    if "again" in options.only:
        again([100] if options.quick else [1000, 10**4, 10**5], 1 if options.quick else 5)
    if "growth" in options.only:
        growth([100, 200] if options.quick else [1000, 2000, 4000, 8000, 16000])
    if "from_torch" in options.only and "PyTorch" in measure.installed():
        networks(1 if options.quick else 15)


def scale_of(name, quick):
    """How large a workload is."""
    return (0.1 if name[1] in "58" else 0.25) if quick else 1


def base(engines):
    return "PyTorch" if "PyTorch" in engines else "NumPy"


def table(title, columns, rows):
    print(title)
    print("| |" + "|".join(columns) + "|\n|---|" + "---:|" * len(columns))
    for head, cells in rows:
        print(f"| {head} |" + "|".join(cells) + "|", flush=True)
    print()


def changes(commit, names, limit, quick):
    """The time of each workload over its time at a commit, and which are above the limit."""
    grid = names[0].startswith("conv ")
    starts, rounds, seconds = (1, 6, 0.002) if quick else (3, 5, 0.02) if grid else (5, 9, 0.1)
    with against.checkout(commit) as old:
        found = against.ratios(
            old, names, starts, rounds, seconds, lambda name: scale_of(name, quick)
        )
    rows, above = [], []
    for name, (ratios, control) in found.items():
        middle, low, high = against.interval(ratios)
        same, least, most = against.interval(control)
        cells = [f"{middle:.3f}", f"{low:.3f} to {high:.3f}", f"{same:.3f}"]
        rows.append(
            (middle, (f"{name} {WHAT.get(name, '')}", [*cells, f"{least:.3f} to {most:.3f}"]))
        )
        above += [name] * (low > limit)
    if grid:
        rows.sort(reverse=True)
    median, worst = statistics.median(m for m, _ in rows), max(rows)[0]
    title = f"Time over {commit}'s: {len(rows)} cases, median {median:.3f}, worst {worst:.3f}"
    columns = ["ratio", "95 % interval", "control", "95 % interval"]
    table(title, columns, [row for _, row in rows[:20]])
    print(f"Interval above {limit}: {', '.join(above) or 'none'}")


def workloads(workers, names, quick):
    """Forward and full backward of each workload: its time over PyTorch's."""
    to = base(workers)

    def rows():
        for name in names:
            few = {
                e: w
                for e, w in workers.items()
                if not (quick and e == "autograd" and name[1] in "56")
            }
            rounds, seconds = (3, 0.005) if quick else (15, 0.1)
            times = measure.compare(few, name, scale_of(name, quick), rounds, seconds)
            cells = [f"{measure.ratio(times, e, to):.3g}" if e in times else "-" for e in workers]
            yield f"{name} {WHAT[name]}", [*cells, f"{1000 * statistics.median(times[to]):.3g}"]

    if names:
        table(
            f"Time over {to}'s (less is faster), and {to}'s in ms", [*workers, f"{to}, ms"], rows()
        )


def grid(workers, quick):
    """Every convolution of the grid beside the better of textbook NumPy and PyTorch."""
    few = {e: workers[e] for e in ("tinygrad_lite", "NumPy", "PyTorch") if e in workers}
    results = []
    for name in conv_grid(quick):
        times = measure.compare(
            few, name, rounds=3 if quick else 9, seconds=0.002 if quick else 0.02
        )
        peers = [e for e in few if e != "tinygrad_lite"]
        results.append((max(measure.ratio(times, "tinygrad_lite", e) for e in peers), name, times))
    results.sort(key=lambda result: -result[0])
    worst, middle = results[0][0], statistics.median(result[0] for result in results)
    title = (
        f"conv2d, forward and both gradients, {len(results)} cases: time over the better of "
        f"textbook NumPy and PyTorch; median {middle:.2f}, worst {worst:.2f}. The slowest, in us"
    )
    rows = [
        (name[5:], [f"{r:.2f}", *(f"{1e6 * statistics.median(times[e]):.0f}" for e in few)])
        for r, name, times in results[:20]
    ]
    table(title, ["ratio", *few], rows)


def sizes(workers, quick):
    """Cost against size: where it no longer matters what an engine does besides computing."""
    few = {e: workers[e] for e in ("tinygrad_lite", "program", "NumPy", "PyTorch") if e in workers}

    def rows(names):
        for name in names[:2] if quick else names:
            rounds, seconds = (3, 0.002) if quick else (9, 0.05)
            times = measure.compare(few, name, 1.0, rounds, seconds)
            ratios = [f"{measure.ratio(times, e, 'NumPy'):.2g}" for e in over]
            yield f"{int(name.split('=')[1]):,}", [*(micro(times[e]) for e in few), *ratios]

    def micro(seconds):
        us = 1e6 * statistics.median(seconds)
        return f"{us:,.0f}" if us >= 100 else f"{us:.3g}"

    over = [e for e in few if "NumPy" in few and e != "NumPy"]
    columns = [*(f"{e}, us" for e in few), *(f"{e} / NumPy" for e in over)]
    for title, names in SIZES.items():
        table(f"Cost against size: {title}", columns, rows(names))


def chains(engines, sizes, quick):
    engines = [e for e in engines if e != "limit"]

    def cell(engine, n):
        if engine == "program" and n > 10**5:  # to make it takes minutes
            return "-"
        us, size = measure.chain(engine, n, 0.01 if quick else 0.2)
        return f"{us:.2f} us, {size:,.0f} B"

    rows = ((f"{n:,} ops", [cell(e, n) for e in engines]) for n in sizes)
    title = "w7: a chain of n scalar ops, float64: time and memory per op"
    table(f"{title} (a program's memory is that of making it)", engines, rows)


def imports(engines, repeats):
    engines = [e for e in engines if measure.ENGINES[e][1] != "numpy"]
    cells = [f"{measure.import_time(e, repeats):.0f}" for e in engines]
    table("Import beyond NumPy's own, ms", engines, [("import", cells)])


def memory(engines, scale):
    engines = [e for e in engines if e not in ("limit", "autograd")]
    rows = (
        (f"{name} {WHAT[name]}", [f"{measure.peak_memory(e, name, scale):.0f}" for e in engines])
        for name in ("w6", "w8")
    )
    table("Peak memory of three steps beyond their inputs, MB", engines, rows)


def gradients(seconds):
    rows = (
        (name, [f"{us:.0f} us", *(f"{r:.2f}" for r in ratios)])
        for name in measure.SMALL
        for us, *ratios in [measure.gradients(name, seconds)]
    )
    columns = ["backward", "grad", "grad, and its record", "gradient of its square"]
    table("A gradient that can be differentiated again: time over backward's", columns, rows)


def analyses(depths, seconds):
    rows = (
        (f"{n} layers, 2^{n - 1} paths", [f"{us:.0f} us", *(f"{r:.3g}" for r in ratios)])
        for n in depths
        for us, *ratios in [measure.analyses(n, seconds)]
    )
    columns = ["one backward", *measure.ANALYSES]
    table("A residual network's analyses: time over one backward pass's", columns, rows)


def again(sizes, rounds):
    rows = (
        (f"{n:,} ops on {what}", [f"{us:,.0f} us", *(f"{r:.2f}" for r in ratios)])
        for what, shape in (("a number", ()), ("vectors of 16", (16,)))
        for n in sizes
        for us, *ratios in [measure.again(n, shape, rounds)]
    )
    title = "What is recorded, run again: time over that of a pass, forward and backward"
    table(title, measure.AGAIN, rows)


def histories(names, rounds):
    rows = (
        (name, [f"{us:.0f} us", f"{ratio:.3f}", f"{low:.3f} to {high:.3f}"])
        for name in names
        for us, ratio, low, high in [measure.history(name, rounds)]
    )
    columns = ["one step", "recorded", "half of the rounds"]
    table("A step of training that History records: time over a plain step's", columns, rows)


def networks(rounds):
    """What networks of PyTorch cost as graphs of ours."""
    from .networks import NETWORKS

    rows = (
        (
            name,
            [
                f"{theirs:.0f} MB",
                f"{ours / theirs:.2f}",
                f"{ms:.0f} ms",
                *(f"{r:.2f}" for r in ratios),
            ],
        )
        for name in NETWORKS
        for ours, theirs, ms, *ratios in [measure.imported(name, rounds)]
    )
    columns = ["PyTorch's peak", "ours over it", "its forward and backward", "ours over it"]
    columns += ["our backward over its", "ours with check=True", "flow over our backward"]
    table("Networks of PyTorch, brought in by from_torch", columns, rows)


def growth(sizes):
    """Each question of computations of n ops: it should cost at most as n log n."""
    for name in measure.QUESTIONS:
        rows = (
            (shape, [*(f"{1000 * t:.0f}" for t in times), f"{times[-1] / times[-2]:.1f}"])
            for shape in measure.SHAPES
            for times in [measure.question(shape, name, sizes)]
        )
        columns = [*(f"n = {n:,}" for n in sizes), "the last over the one before"]
        table(f"{name}: ms against the size of the computation", columns, rows)


if __name__ == "__main__":
    main()
