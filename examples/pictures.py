"""Where the examples put their pictures: `out/`, or the folder given with `--out DIR`."""

import argparse
from pathlib import Path

import numpy as np

parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the pictures")
parser.add_argument("--quick", action="store_true", help="a short run that shows that it works")
options = parser.parse_known_args()[0]  # a notebook's own arguments are not ours to refuse
out, quick = options.out, options.quick


def save(picture, name):
    """Write a graph, an image or a Matplotlib figure, and say where it is."""
    out.mkdir(parents=True, exist_ok=True)
    (getattr(picture, "save", None) or picture.savefig)(out / name)
    print("wrote", out / name)


def gallery(tiles, labels, columns=4, zoom=1):
    """Small grey pictures in rows, a label above each. 0 is black, 1 is white."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = np.shape(tiles)[1:]
    gap, head = 10, 18
    dx, dy = width * zoom + gap, height * zoom + head + gap
    rows = -(-len(tiles) // columns)
    image = Image.new("L", (columns * dx + gap, rows * dy + gap), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=13)
    for i, (tile, label) in enumerate(zip(tiles, labels, strict=True)):
        x, y = gap + i % columns * dx, gap + i // columns * dy
        grey = (255 * np.clip(tile, 0, 1)).round().astype(np.uint8)
        draw.text((x, y), label, fill="black", font=font)
        draw.rectangle((x - 1, y + head - 1, x + dx - gap, y + dy - gap), outline=128)
        image.paste(Image.fromarray(np.kron(grey, np.ones((zoom, zoom), np.uint8))), (x, y + head))
    return image
