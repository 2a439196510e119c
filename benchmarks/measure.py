"""Engines in turns, each in a process of its own on the same core; CPU time throughout."""

import ctypes
import importlib
import importlib.util
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import time

import numpy as np

from .data import data, sizes_of

ENGINES = {  # name in tables: (module of this package, library it needs)
    "tinygrad_lite": ("on_tinygrad_lite", "tinygrad_lite"),
    "program": ("on_program", "tinygrad_lite"),
    "NumPy": ("on_numpy", "numpy"),
    "limit": ("on_numpy_limit", "numpy"),
    "autograd": ("on_autograd", "autograd"),
    "MyGrad": ("on_mygrad", "mygrad"),
    "DeZero": ("on_dezero", "dezero"),
    "advect": ("on_advect", "advect"),
    "PyTorch": ("on_torch", "torch"),
}

# How to import what is no library by that name. DeZero is older than NumPy 1.24, which dropped
# `int`; what runs programs is loaded with the first.
IMPORTS = {
    "DeZero": "numpy.int = int; import dezero",
    "program": "import tinygrad_lite.recorded.program, tinygrad_lite.fast.straight",
}


def installed():
    return [name for name, (_, library) in ENGINES.items() if importlib.util.find_spec(library)]


def one_core():
    """Keep this process, and those it starts, to one core and one thread."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def make(engine, workload, scale=1.0):
    """The step of a workload on an engine, or None if the engine has no version of it."""
    module = importlib.import_module(f".{ENGINES[engine][0]}", __package__)
    name = workload.split()[0]
    function = getattr(module, {"w1s": "w1", "w6d": "w6"}.get(name, name), None)
    options = {key: n for key, n in sizes_of(workload).items() if key == "ops"}
    return function and function(data(workload, scale), **options)


def disagreement(engine, workload, scale=1.0):
    """The `error` of an engine's gradients; None if it has no version of the workload."""
    step = make(engine, workload, scale)
    return step and error(step, workload, scale)


def error(step, workload, scale=1.0):
    """The largest error of any gradient that a step finds, relative to the largest number in it,
    beside textbook NumPy."""
    worst = 0.0
    expected = make("NumPy", workload, scale)()
    found = [np.asarray(g) for g in step()]
    assert len(found) == len(expected)
    for mine, true in zip(found, expected, strict=True):
        assert mine.shape == np.shape(true), (workload, mine.shape, np.shape(true))
        assert np.abs(true).max() > 0, f"{workload}: a gradient of zeros proves nothing"
        worst = max(worst, float(np.abs(mine - true).max() / np.abs(true).max()))
    return worst


def serve(engine, connection, folder=None):
    """What a worker does: check a workload when it is named, run it when told how often. With a
    folder, tinygrad_lite is the one there.

    glibc gives freed memory back to the system, to be cleared anew, if there is more of it than
    twice the largest array freed so far. A step whose arrays are just that large takes up to
    eight times as long, by the luck of what ran before; so each engine first frees a large one.
    """
    np.empty(31 << 20, np.uint8)
    if folder is not None:
        sys.path.insert(0, str(folder))
        assert importlib.import_module("tinygrad_lite").__file__.startswith(str(folder))
    step = None
    while (message := connection.recv()) is not None:
        if isinstance(message, tuple):
            step = make(engine, *message)
            connection.send(step and error(step, *message))
        else:
            connection.send(timed(step, message))


class Worker:
    """An engine in a process of its own."""

    def __init__(self, engine, folder=None):
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=serve, args=(engine, other, folder), daemon=True)
        self.process.start()

    def __call__(self, message):
        self.connection.send(message)
        return self.connection.recv()

    def close(self):
        self.connection.send(None)
        self.process.join()


def compare(workers, workload, scale=1.0, rounds=15, seconds=0.1):
    """Seconds per step for each engine that has the workload: one list, a number a round.

    Raises: AssertionError if an engine's gradients disagree with textbook NumPy's.
    """
    runs, tolerance = {}, 1e-3
    for engine, worker in workers.items():
        error = worker((workload, scale))
        if error is not None:
            assert error < tolerance, f"{engine} on {workload}: gradients differ by {error:.1e}"
            once = min(worker(1), worker(1))
            runs[engine] = max(1, int(seconds / max(once, 1e-6)))
    times = {engine: [] for engine in runs}
    for i in range(rounds):
        for engine, n in list(runs.items())[:: -1 if i % 2 else 1]:
            times[engine].append(workers[engine](n))
    return times


def ratio(times, engine, to):
    """The median over the rounds of an engine's time over another's."""
    return statistics.median(a / b for a, b in zip(times[engine], times[to], strict=True))


def in_fresh_process(code):
    """What a Python program of its own prints, as numbers; it keeps what it compiles, as a user's
    does."""
    run, env = [sys.executable, "-c", code], dict(os.environ)
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(run, capture_output=True, text=True, check=True, env=env)
    return [float(word) for word in done.stdout.split()]


def import_time(engine, repeats, folder=None):
    """Milliseconds of CPU to import an engine, of a folder if one is given, after NumPy."""
    statement = IMPORTS.get(engine, f"import {ENGINES[engine][1]}")
    code = (
        f"import sys; sys.path[:0] = {[str(folder)] if folder else []}; "
        "import time, numpy; start = time.process_time(); "
        f"{statement}; print(1000 * (time.process_time() - start))"
    )
    return statistics.median(in_fresh_process(code)[0] for _ in range(repeats))


def compare_imports(folders, rounds):
    """Milliseconds to import tinygrad_lite from each folder: a list, a number a round."""
    times = {key: [] for key in folders}
    for _ in range(rounds):
        for key, folder in folders.items():
            times[key].append(import_time("tinygrad_lite", 1, folder))
    return times


def peak_memory(engine, workload, scale=1.0):
    """MB that three steps take at their peak beyond what the inputs take."""
    code = f"from benchmarks.measure import peak; print(peak({engine!r}, {workload!r}, {scale}))"
    return in_fresh_process(code)[0]


def peak(engine, workload, scale):
    one_core()
    step = make(engine, workload, scale)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)  # what making a program has freed is not to be had for nothing
    before = resident("VmRSS")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # forget the peak so far
    for _ in range(3):
        step()
    return (resident("VmHWM") - before) / 1e3


def resident(key):
    """VmRSS or VmHWM (its peak) of this process, in kB; Linux only."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key))


def chain(engine, n, seconds=0.2):
    """Microseconds and bytes per op of a chain of n ops with its backward pass, in float64."""
    code = (
        f"from benchmarks.measure import chain_here; print(*chain_here({engine!r}, {n}, {seconds}))"
    )
    return in_fresh_process(code)


def chain_here(engine, n, seconds):
    one_core()
    make(engine, "w1 ops=100")()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = make(engine, f"w1 ops={n}")  # which makes the program, where that is the engine
    once = timed(step, 1)
    size = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    times = [timed(step, max(1, int(seconds / once))) for _ in range(5)]
    return 1e6 * statistics.median(times) / n, size / n


def timed(step, n):
    """Seconds of CPU for one of n steps."""
    start = time.process_time()
    for _ in range(n):
        step()
    return (time.process_time() - start) / n


# Layers, width and batch of the nets whose gradients are recorded; no batch is a vector.
SMALL = {
    "20 ops on a number": (5, None, None),
    "3 layers, a vector of 4": (3, 4, None),
    "3 layers of width 16, batch 8": (3, 16, 8),
    "3 layers of width 64, batch 32": (3, 64, 32),
}


def gradients(name, seconds=0.2):
    """Microseconds of a small net's backward pass, and over it the times of `grad`, of `grad`
    when its record is looked at, and of the gradient of the sum of its squares."""
    code = f"from benchmarks.measure import gradients_here as g; print(*g({name!r}, {seconds}))"
    return in_fresh_process(code)


def gradients_here(name, seconds):
    from tinygrad_lite import Tensor, grad, sigmoid

    one_core()
    layers, width, batch = SMALL[name]
    rng = np.random.default_rng(0)
    size = () if width is None else (width,)
    sizes = [s for _ in range(layers) for s in (size * 2, size)]
    parameters = [Tensor(rng.normal(size=s), requires_grad=True) for s in sizes]
    y = x = Tensor(rng.normal(size=size if batch is None else (batch, *size)))
    for w, b in zip(parameters[::2], parameters[1::2], strict=True):
        y = sigmoid((y * w if width is None else y @ w) + b) + (x if width is None else 0)
    loss = y.sum()

    def squared():
        total = 0
        for g in grad(loss, parameters):
            total = total + (g * g).sum()
        total.backward()

    runs = (
        loss.backward,
        lambda: grad(loss, parameters),
        lambda: grad(loss, parameters)[0].inputs,
        squared,
    )
    for run in runs:
        run()
    n = max(1, int(seconds / timed(runs[-1], 10) / 100))
    rounds = [[timed(run, n) for run in runs] for _ in range(100)]
    ratios = (statistics.median(t[i] / t[0] for t in rounds) for i in (1, 2, 3))
    return 1e6 * statistics.median(t[0] for t in rounds), *ratios


# Passes of a recorded chain of n ops that are not recorded anew.
AGAIN = ("forward and backward", "replay over forward", "making a program", "running it")


def again(n, shape, rounds=5):
    """Microseconds of a pass, forward and backward, of n ops on arrays of a shape, the time of a
    replay over that of the forward pass, and of making a program and of running it over both's."""
    code = f"from benchmarks.measure import again_here as a; print(*a({n}, {shape}, {rounds}))"
    return in_fresh_process(code)


def again_here(n, shape, rounds):
    from tinygrad_lite import Tensor, program, replay, tanh

    one_core()
    inputs = [Tensor(np.full(shape, x), requires_grad=True) for x in data("w1").values()]
    h0, w, b, x = inputs
    times = []
    for _ in range(rounds + 1):
        h = h0
        start = time.process_time()
        for _ in range(n // 4):
            h = tanh(h * w + b) + x
        y = h.sum()
        middle = time.process_time()
        y.backward()
        passed = time.process_time()
        run = program(y, inputs)
        made = time.process_time()
        repeats = [
            timed(lambda y=y, i=i: replay(y, {h0: h0.data + 0.01 * i}), 1) for i in range(1, 4)
        ]
        ran = min(timed(run, 3) for _ in range(3))
        forward, whole = middle - start, passed - start
        times.append((whole, min(repeats) / forward, (made - passed) / whole, ran / whole))
    whole, *ratios = (statistics.median(column) for column in zip(*times[1:], strict=True))
    return 1e6 * whole, *ratios


# What is asked of a residual network's output, with respect to its first weights.
ANALYSES = {
    "flow": lambda tl, y, x: tl.flow(y, wrt=x),
    "classes by depth": lambda tl, y, x: tl.path_classes(y, wrt=x, by="depth"),
    "by skips": lambda tl, y, x: tl.path_classes(y, wrt=x, by="skips"),
    "profile": lambda tl, y, x: tl.profile(y),
    "what_if": lambda tl, y, x: tl.what_if(y, wrt=x),
    "graph": lambda tl, y, x: tl.graph(y),
    "SVG": lambda tl, y, x: tl.graph(y).svg(),
    "unfolded": lambda tl, y, x: tl.graph(y).svg(fold=False),
}


def analyses(layers, seconds=0.2):
    """Microseconds of a backward pass of the residual network w3r, and the times of the
    analyses over it."""
    code = (
        f"from benchmarks.measure import analyses_here; print(*analyses_here({layers}, {seconds}))"
    )
    return in_fresh_process(code)


def analyses_here(layers, seconds):
    import tinygrad_lite as tl
    from tinygrad_lite import Tensor, scope, sigmoid

    one_core()
    inputs = data("w3r")
    y, parameters = Tensor(inputs["x"]), []
    for w, b in inputs["layers"][:layers]:
        parameters.append(Tensor(w, requires_grad=True))
        with scope("branch"):
            f = sigmoid(y @ parameters[-1] + b)
        y = f + y
    loss, first = y.sum(), parameters[0]

    def median_time(run):
        run()
        once = timed(run, 1)
        return statistics.median(timed(run, max(1, int(seconds / once))) for _ in range(3))

    backward = median_time(loss.backward)
    found = [median_time(lambda ask=ask: ask(tl, loss, first)) for ask in ANALYSES.values()]
    return 1e6 * backward, *(t / backward for t in found)


# Layers, width and batch of the nets whose training is recorded.
TRAINED = {
    "2 layers of width 4": (2, 4, 1),
    "3 layers of width 64, batch 32": (3, 64, 32),
    "50 layers of width 64, batch 32": (50, 64, 32),
    "3 layers of width 512, batch 128": (3, 512, 128),
}


def history(name, rounds=15):
    """Microseconds of a step of training a residual net, over it the time of one that `History`
    records, and how the median of these ratios is spread: the lower and the upper quartile."""
    code = f"from benchmarks.measure import history_here as h; print(*h({name!r}, {rounds}))"
    return in_fresh_process(code)


def history_here(name, rounds):
    from tinygrad_lite import History, Tensor, scope, sigmoid
    from tinygrad_lite.training import SGD

    one_core()
    layers, width, batch = TRAINED[name]
    rng = np.random.default_rng(0)

    def normal(*shape, by=1.0):
        return (by * rng.standard_normal(shape)).astype(np.float32)

    x, weights = Tensor(normal(batch, width)), [normal(width, width, by=0.1) for _ in range(layers)]
    parameters = [(Tensor(w, True), Tensor(w[0], True)) for w in weights]
    optimiser, noted = SGD([t for pair in parameters for t in pair], lr=1e-3), History()

    def step(record=lambda loss: None):
        h = x
        for i, (w, b) in enumerate(parameters):
            with scope(f"f{i}"):
                f = sigmoid(h @ w + b)
            h = f + h if i else f
        loss = (h * h).mean()
        loss.backward()
        record(loss)
        optimiser.step()

    runs = step, lambda: step(noted.record)
    times = [[timed(run, 100) for run in runs] for _ in range(rounds + 1)][1:]
    quartiles = np.quantile([b / a for a, b in times], [0.5, 0.25, 0.75])
    return 1e6 * statistics.median(a for a, _ in times), *quartiles


# Computations of about n ops, each in a shape in which work is easily done n times over.
SHAPES = {
    "stack of n": lambda tl, x, n: tl.stack([tl.tanh(x) for _ in range(n)]),
    "concatenate of n": lambda tl, x, n: tl.concatenate([tl.tanh(x) for _ in range(n)]),
    "chain of n": lambda tl, x, n: chain_of(tl, x, n, lambda h, i: tl.tanh(h)),
    "n uses of a value": lambda tl, x, n: chain_of(tl, x, n, lambda h, i: h + x),
    "n parameters": lambda tl, x, n: chain_of(
        tl, x, n, lambda h, i: h + tl.Tensor(1.0, requires_grad=True, name=f"p{i}")
    ),
    "n scopes": lambda tl, x, n: chain_of(tl, x, n, lambda h, i: scoped(tl, h, i)),
    "n/2 scopes with skips": lambda tl, x, n: chain_of(
        tl, x, n // 2, lambda h, i: h + scoped(tl, h, i)
    ),
}
QUESTIONS = {
    "flow": lambda tl, y, x: tl.flow(y, x),
    "path_classes": lambda tl, y, x: tl.path_classes(y, x, keep=100),
    "profile": lambda tl, y, x: tl.profile(y),
    "compare": lambda tl, y, x: tl.compare(y, y, wrt=x),
    "text": lambda tl, y, x: str(tl.graph(y)),
    "steps": lambda tl, y, x: str(tl.steps(y)),
    "unfolded": lambda tl, y, x: unfolded(tl, y),
}


def chain_of(tl, h, n, step):
    for i in range(n):
        h = step(h, i)
    return h


def scoped(tl, h, i):
    with tl.scope(f"s{i}"):
        return tl.tanh(h)


def unfolded(tl, y):
    """All of an unfolded picture that is our own work: its Graphviz source."""
    from tinygrad_lite.drawing.picture import dot

    return dot(tl.graph(y).picture(fold=False))


def question(shape, name, sizes):
    """Seconds of CPU that a question takes of a shape, a number for each size."""
    import tinygrad_lite as tl

    times = []
    for n in sizes:
        x = tl.Tensor(np.linspace(0.1, 0.4, 4), requires_grad=True, name="x")
        y = SHAPES[shape](tl, x, n).sum()
        times.append(timed(lambda y=y, x=x: QUESTIONS[name](tl, y, x), 1))
    return times


def imported(name, rounds):
    """What a network of PyTorch costs as a graph of ours, over what it costs PyTorch: peak memory,
    forward and backward, backward alone, with the check of the gradients too; and the flow to its
    first parameter over our backward."""
    here = f"from benchmarks.measure import imported_peak as f; print(f({name!r}, "
    ours, theirs = (in_fresh_process(f"{here}{which}))")[0] for which in (True, False))
    code = f"from benchmarks.measure import imported_here as f; print(*f({name!r}, {rounds}))"
    return ours, theirs, *in_fresh_process(code)


def network_steps(name, check=False):
    """PyTorch's forward and backward of a network, and ours, each as a pair of functions."""
    import torch

    from tinygrad_lite import from_torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    from .networks import NETWORKS

    model, x = NETWORKS[name]()

    def backward(y):
        y.backward(np.ones(y.shape, y.dtype))

    def theirs(y):
        for p in model.parameters():
            p.grad = None
        y.sum().backward()

    return (lambda: model(x), theirs), (lambda: from_torch(model, x, check=check), backward)


def imported_peak(name, ours):
    """MB that a network, its first forward and backward take, beyond what importing takes."""
    importlib.import_module("torch")
    importlib.import_module("tinygrad_lite.pytorch")
    importlib.import_module("benchmarks.networks")
    one_core()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    forward, backward = network_steps(name)[ours]
    backward(forward())
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3


def imported_here(name, rounds):
    from tinygrad_lite import flow
    from tinygrad_lite.ancestors import ancestors

    one_core()
    runs = [*network_steps(name), network_steps(name, check=True)[1]]
    times = []
    for _ in range(rounds + 1):
        found = []
        for forward, backward in runs:
            start = time.process_time()
            y = forward()
            between = time.process_time()
            backward(y)
            found.append((between - start, time.process_time() - between))
        times.append(found)
    theirs, ours, checked = np.moveaxis(np.array(times[1:]), 1, 0)
    ratios = ours.sum(1) / theirs.sum(1), ours[:, 1] / theirs[:, 1], checked.sum(1) / theirs.sum(1)
    first = next(v for v in ancestors([y]) if v.op is None and v.name and v.requires_grad)
    g = np.ones(y.shape, y.dtype)
    flows = [timed(lambda: flow(y, first, g), 1) / timed(lambda: runs[1][1](y), 1) for _ in times]
    whole = 1e3 * statistics.median(theirs.sum(1))
    return whole, *map(statistics.median, ratios), statistics.median(flows)
