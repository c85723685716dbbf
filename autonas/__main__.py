"""`python -m autonas` is the command `autonas`."""

from autonas.cli import run

if __name__ == "__main__":
    run()
