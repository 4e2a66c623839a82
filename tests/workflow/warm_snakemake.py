"""Snakemake, imported once for many plans: each call is a fork of a process that has imported it, and reads its checkout from nothing.

``python warm_snakemake.py SOCKET`` serves one call at a time. Importing Snakemake takes about as long as a plan of a small experiment.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path


class WarmSnakemake:
    """Calls ``python -m snakemake`` without its start, for runs that start no jobs. Ends with ``close``."""

    def __init__(self, folder: Path) -> None:
        self._address = str(folder / "snakemake.socket")
        self._folder = folder
        self._server = subprocess.Popen(
            [sys.executable, __file__, self._address],
            cwd=folder,
            stdout=subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        )
        assert self._server.stdout and self._server.stdout.readline() == b"ready\n"

    def __call__(self, arguments: list[str], *, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """``snakemake <arguments>`` in ``cwd``; stdout and stderr come together."""
        output = self._folder / "said"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self._address)
            client.sendall(json.dumps([arguments, str(cwd), env, str(output)]).encode() + b"\n")
            status = int(client.makefile().readline())
        return subprocess.CompletedProcess(arguments, status, output.read_text(encoding="utf-8"))

    def close(self) -> None:
        self._server.terminate()
        self._server.wait()


def call(arguments: list[str], cwd: str, env: dict[str, str], output: str) -> None:
    """Becomes ``python -m snakemake <arguments>`` in the folder ``cwd``; does not return."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    opened = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(opened, 1)
    os.dup2(opened, 2)
    sys.path[0] = cwd  # as `python -m` does
    sys.argv[1:] = arguments
    snakemake.cli.main()


def serve(address: str) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        print("ready", flush=True)
        while True:
            connection, _ = server.accept()
            with connection:
                asked = json.loads(connection.makefile().readline())
                if (child := os.fork()) == 0:
                    server.close()
                    connection.close()
                    call(*asked)
                _, status = os.waitpid(child, 0)
                connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    import snakemake.cli

    sys.argv[0] = snakemake.__path__[0] + "/__main__.py"
    serve(sys.argv[1])
