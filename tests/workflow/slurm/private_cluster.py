"""A real Slurm on loopback, of a test's own: munged, slurmctld and a slurmd a node, whose files all lie in one folder.

GPUs are symbolic links to the null device, which is all that Slurm needs to hand them out. There is no accounting.
"""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = ("sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun")
SEARCHED = "/usr/bin:/usr/local/bin:/usr/sbin:/usr/local/sbin:/sbin:/bin"

PATIENCE = 5
"""A loaded machine may take as many times as long as a quiet one, which the limits of these tests are for."""
CONFIGURATION = """\
ClusterName=private
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmdParameters=config_overrides
ReturnToService=1
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_min_interval=50000,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
MpiDefault=none
MailProg=/bin/true
GresTypes=gpu
InactiveLimit=0
"""


def missing_programs() -> list[str]:
    """The programs of Slurm and munge that this machine lacks."""
    return [name for name in (*DAEMONS, *CLIENTS) if not shutil.which(name, path=SEARCHED)]


def free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [opened.getsockname()[1] for opened in sockets]
    finally:
        for opened in sockets:
            opened.close()


def until(condition: Callable[[], object], *, seconds: float, what: str, poll: float = 0.05) -> None:
    """Wait for a condition, ``PATIENCE`` times ``seconds`` at most; AssertionError that says what has not come."""
    seconds *= PATIENCE
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(poll)


def kill_all(processes: list[psutil.Process]) -> None:
    """kill -9, in this order."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


class PrivateCluster:
    """``settings`` are lines of slurm.conf; ``partitions`` the options of each partition, all of which have all nodes."""

    def __init__(
        self,
        folder: Path,
        *,
        nodes: int = 2,
        cpus: int = 2,
        gpus: int = 1,
        memory_mb: int = 12_000,
        settings: Mapping[str, object] | None = None,
        partitions: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.nodes = [f"node{number}" for number in range(1, nodes + 1)]
        self.gpus = gpus * nodes
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._write(cpus, gpus, memory_mb, settings or {}, partitions or {"main": "Default=YES"})

    @property
    def environment(self) -> dict[str, str]:
        """Variables for a client. Snakemake's executor drops every SLURM_* from the environment of the srun in its jobs; the
        wrappers that come first on the PATH put SLURM_CONF back."""
        return {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }

    def command(self, *arguments: str) -> str:
        """The output of a client command, which must succeed."""
        result = subprocess.run(
            arguments, env=os.environ | self.environment, capture_output=True, text=True, timeout=90, check=False
        )
        assert result.returncode == 0, f"{arguments}: {result.stdout}{result.stderr}"
        return result.stdout

    def start(self) -> None:
        munge = ("munged", "--foreground", "--force", f"--key-file={self.folder}/munge.key")
        places = ("socket", "pid-file", "log-file", "seed-file")
        self._start("munged", *munge, *(f"--{place}={self.folder}/munge.{place.split('-')[0]}" for place in places))
        until(self.folder.joinpath("munge.socket").exists, seconds=30, what="munged")
        self.start_controller()
        for node in self.nodes:
            self.start_node(node)

    def start_controller(self) -> None:
        self._start("slurmctld", "slurmctld", "-D")
        until(lambda: self._answers("sinfo", "--noheader"), seconds=60, what="slurmctld")

    def stop_controller(self) -> None:
        """With time to save its state: killed before, it would come back without jobs that its nodes run."""
        self._end("slurmctld", signal.SIGTERM, seconds=120)

    def start_node(self, node: str) -> None:
        self._start(f"slurmd.{node}", "slurmd", "-D", "-N", node)
        until(lambda: self.node_state(node) in {"idle", "mixed", "allocated"}, seconds=60, what=f"slurmd of {node}")

    def kill_node(self, node: str) -> None:
        """As if it had lost power: its daemon, the daemon's helpers and the jobs' processes die, and none lives to tell."""
        doomed = self._job_processes(node)
        self._end(f"slurmd.{node}", signal.SIGKILL)
        kill_all(doomed)

    def resume_drained_nodes(self) -> dict[str, str]:
        """Slurm takes nodes out of service when an answer is late, as on a slow host. Let them take jobs again, as an administrator
        would; by node its state and Slurm's reason."""
        listed = self.command(
            "sinfo", "--noheader", "--Node", "--states=drain,down,fail", "--format=%N|%T: %E"
        ).splitlines()
        drained = dict(line.split("|", 1) for line in listed)
        for node in drained:
            self.command("scontrol", "update", f"NodeName={node}", "State=RESUME")
        return drained

    def complaints(self) -> str:
        """What slurmctld and the nodes' daemons logged as errors, for a test that has failed."""
        logs = sorted(self.folder.glob("slurm*.log"))
        errors = [f"{log.name}: {line}" for log in logs for line in log.read_text().splitlines() if "error" in line]
        return "\n".join(errors[-60:])

    def node_state(self, node: str) -> str:
        return self.command("sinfo", "--noheader", "--nodes", node, "--format=%T").split()[0].rstrip("*")

    def stop(self) -> None:
        for name in sorted(self._daemons, key=lambda name: ("slurmd", "slurmc", "munged").index(name[:6])):
            self._end(name, signal.SIGTERM)
        kill_all(self._job_processes())

    def _job_processes(self, node: str | None = None) -> list[psutil.Process]:
        """Processes of jobs, after the slurmstepd that look after them: both outlive slurmd."""
        jobs = [process for process in psutil.process_iter() if self._is_of_a_job(process, node)]
        steps = {parent for process in jobs for parent in process.parents() if parent.name() == "slurmstepd"}
        return [*steps, *jobs]

    def _is_of_a_job(self, process: psutil.Process, node: str | None) -> bool:
        try:
            environment = process.environ()
        except psutil.Error:
            return False
        ours = environment.get("SLURM_CONF") == self.environment["SLURM_CONF"] and "SLURM_JOB_ID" in environment
        return ours and node in (None, environment.get("SLURMD_NODENAME"))

    def _answers(self, *arguments: str) -> bool:
        environment = os.environ | self.environment
        return subprocess.run(arguments, env=environment, capture_output=True, check=False).returncode == 0

    def _start(self, name: str, program: str, *arguments: str) -> None:
        with self.folder.joinpath(f"{name}.out").open("ab") as output:
            self._daemons[name] = subprocess.Popen(
                [shutil.which(program, path=SEARCHED) or program, *arguments],
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                start_new_session=True,
            )

    def _end(self, name: str, number: signal.Signals, *, seconds: float = 20) -> None:
        daemon = self._daemons.pop(name)
        daemon.send_signal(number)
        try:
            daemon.wait(timeout=PATIENCE * seconds)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def _write(
        self, cpus: int, gpus: int, memory_mb: int, settings: Mapping[str, object], partitions: Mapping[str, str]
    ) -> None:
        for part in ("state", "bin"):
            self.folder.joinpath(part).mkdir(parents=True)
        for client in CLIENTS:
            wrapper = self.folder / "bin" / client
            configuration = f"SLURM_CONF={self.folder}/slurm.conf"
            wrapper.write_text(f'#!/bin/sh\n{configuration} exec {shutil.which(client, path=SEARCHED)} "$@"\n')
            wrapper.chmod(0o755)
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        for number in range(gpus):
            self.folder.joinpath(f"gpu{number}").symlink_to("/dev/null")

        controller_port, *node_ports = free_ports(1 + len(self.nodes))
        lines = [CONFIGURATION.format(folder=self.folder, user=getpass.getuser(), controller_port=controller_port)]
        defaults = {"KillWait": 15, "MinJobAge": 600, "JobRequeue": 1, "SlurmdTimeout": 120}
        lines += [f"{key}={value}\n" for key, value in (defaults | dict(settings)).items()]
        gres = f" Gres=gpu:a100:{gpus}" if gpus else ""
        for node, port in zip(self.nodes, node_ports, strict=True):
            address = f"NodeHostname=localhost NodeAddr=127.0.0.1 Port={port}"
            lines.append(f"NodeName={node} {address} CPUs={cpus} RealMemory={memory_mb}{gres} State=UNKNOWN\n")
        for name, options in partitions.items():
            lines.append(f"PartitionName={name} Nodes={','.join(self.nodes)} State=UP {options}\n")
        self.folder.joinpath("slurm.conf").write_text("".join(lines))
        devices = f"{self.folder}/gpu[0-{gpus - 1}]" if gpus > 1 else f"{self.folder}/gpu0"
        gpu_lines = [f"NodeName={node} Name=gpu Type=a100 File={devices}\n" for node in self.nodes if gpus]
        self.folder.joinpath("gres.conf").write_text("".join(["AutoDetect=off\n", *gpu_lines]))
