"""`python train.py` is `segjax train`."""

import sys

from segjax.cli import run

if __name__ == "__main__":
    run("train", sys.argv[1:], prog="train.py")
