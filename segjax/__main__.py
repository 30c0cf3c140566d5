"""`python -m segjax` is the `segjax` command."""

from segjax.cli import main

if __name__ == "__main__":
    main()
