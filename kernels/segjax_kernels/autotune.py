"""Finds the fastest config of each kernel on the GPU at hand, and keeps it for `config=None`.

    python -m segjax_kernels.autotune
    python -m segjax_kernels.autotune --kernel upsample_blend --size 1080x1920

Only when it is called, never by itself. It takes about a second for each kernel, size and config:
most of it is compiling. The table lies in the user's cache folder, by the device's name; remove it
to go back to the estimates.
"""

import argparse
import sys

from segjax_kernels import autotune, tuning
from segjax_kernels.search import SIZES


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m segjax_kernels.autotune",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kernel", action="append", choices=tuning.TUNABLES, help="repeatable")
    parser.add_argument("--size", action="append", type=_size, help="HEIGHTxWIDTH; repeatable")
    options = parser.parse_args(arguments)
    try:
        autotune(options.kernel, options.size or SIZES, say=print)
    except (NotImplementedError, ValueError, OSError) as error:
        sys.exit(f"error: {error}")


def _size(text: str) -> tuning.Shape:
    try:
        return tuning.read_shape(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}; it is HEIGHTxWIDTH") from None


if __name__ == "__main__":
    main()
