"""`python serve.py` is `segjax serve`."""

import sys

from segjax.cli import run

if __name__ == "__main__":
    run("serve", sys.argv[1:], prog="serve.py")
