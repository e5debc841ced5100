"""`python -m qlikmigrate`: hands over to the command line."""

import sys


def main() -> None:
    """Run the command line and leave the process with its exit code."""
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        # Asked by scripts before every use: answered without loading the command line, which takes ten times as long.
        from qlikmigrate import __version__

        sys.stdout.write(f"qlikmigrate {__version__}\n")
        return
    from qlikmigrate.cli.app import run

    sys.exit(run(arguments))


if __name__ == "__main__":
    main()
