"""Snakemake's logger plugin `lamflow`; Snakemake finds it by the name of this module, and workflow/profiles/default enables it.

Snakemake makes its loggers before it reads anything, so this one also refuses configuration files on which Snakemake itself would
crash or hang. What it does with records is the workflow's to say (``listen``): this module may be an installed one, but the workflow runs
the code of its checkout.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from logging import LogRecord
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

from snakemake_interface_common.exceptions import ApiError
from snakemake_interface_logger_plugins.base import LogHandlerBase


class LogHandler(LogHandlerBase):
    """Hands Snakemake's records to ``take``, once that is set."""

    take: Callable[[LogRecord], None] | None = None

    def __post_init__(self) -> None:
        check_configuration(sys.argv[1:])

    def emit(self, record: LogRecord) -> None:
        if self.take is not None:
            try:
                self.take(record)
            except Exception:
                self.handleError(record)

    @property
    def writes_to_stream(self) -> bool:
        return False

    @property
    def writes_to_file(self) -> bool:
        """To none that Snakemake should name at the end."""
        return False

    @property
    def has_filter(self) -> bool:
        """As if it had: the default one follows `--quiet`."""
        return True

    @property
    def has_formatter(self) -> bool:
        return True

    @property
    def needs_rulegraph(self) -> bool:
        return False


def listen(manager: Any, take: Callable[[LogRecord], None]) -> None:
    """Give ``take`` each record of Snakemake's logger from now on, through the handler that a profile or the command line has enabled, or
    else one that is added now. ``manager``: ``workflow.logger_manager`` in a Snakefile."""
    enabled = [handler for handler in manager.get_log_handlers() if isinstance(handler, LogHandler)]
    handler = enabled[0] if enabled else LogHandler(manager.settings, None)
    handler.take = take
    manager.logger.addFilter(add_exit_status)
    if not enabled:
        manager.logger.addHandler(handler)


def add_exit_status(record: LogRecord) -> bool:
    """Add to a record that is logged because a command failed the status with which it exited: Snakemake has it in texts alone."""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, CalledProcessError):
        error = error.__context__
    if error is not None:
        record.exit_status = error.returncode
    return True


def check_configuration(command_line: list[str]) -> None:
    """Check the configuration files that Snakemake is about to read. ApiError, which Snakemake prints without a traceback, when one is bad.

    Snakemake's own parser is asked, as a profile may name them, too.
    """
    from snakemake.api import resolve_snakefile
    from snakemake.cli import parse_args

    try:
        with redirect_stderr(io.StringIO()):  # it has named the profiles before
            _, given = parse_args(command_line)
    except SystemExit:  # this process has another command line than Snakemake's
        return
    if not given.configfile:
        return
    # As the Snakefile itself does: a copied checkout runs its own code.
    snakefile = resolve_snakefile(given.snakefile, allow_missing=True)
    folders = Path(snakefile or "Snakefile").resolve().parents
    sources = [str(folder / "src") for folder in folders if folder.joinpath("src", "lamflow").is_dir()]
    if not sources:  # another workflow, which may import a checkout
        return
    sys.path.insert(0, sources[0])
    from lamflow.yaml_files import check_files

    try:
        check_files(map(Path, given.configfile))
    except ValueError as error:
        raise ApiError(str(error)) from None
