"""``python -m tinygrad_lite`` is the command ``tinygrad-lite``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
