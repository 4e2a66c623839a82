"""The command line of a benchmark: ``--help`` says what it measures, before it measures anything."""

from __future__ import annotations

import argparse


def arguments(description: str | None, *names: str, many: str | None = None) -> list[str]:
    """The arguments that are given of ``names``, all of which may be left out from the end, or any number of ``many``."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in names:
        parser.add_argument(name, nargs="?")
    if many:
        parser.add_argument(many, nargs="*")
    given = vars(parser.parse_args())
    values = [given[name] for name in names if given[name] is not None]
    return values + (given[many] if many else [])
