"""The program `quorate`, which `python -m quorate` is too."""

import sys


def main() -> int:
    """Run one command; Ctrl-C while Python still loads the command line is no traceback either."""
    try:
        from quorate.cli import main as command_line

        return command_line()
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
