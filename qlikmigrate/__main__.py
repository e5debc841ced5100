"""`python -m qlikmigrate`: hands over to the command line."""

import sys


def main() -> None:
    """Run the command line and leave the process with its exit code."""
    from qlikmigrate.cli.app import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
