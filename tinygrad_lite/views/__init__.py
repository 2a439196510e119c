"""How recorded data looks: boxes, keys, pages."""
