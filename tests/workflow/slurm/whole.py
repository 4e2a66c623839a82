"""``snakemake --profile slurm all`` from nothing, of one environment and seed, with slurmctld away for half a minute in the middle."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from driving import TINY, Driver
from private_cluster import PrivateCluster, until

ENVIRONMENT = "xland-doorkey-5x5-full"
"""The one of config/tiny.yaml that has every method."""
IN_PART = (TINY, "--config", "seeds=[0]", f"envs=[{ENVIRONMENT}]")
"""Of two seeds every rule would run the same on Slurm twice as often; the other environment runs in `test_run_restarted`."""
OUTAGE_SECONDS = 30
GPU_RULES = (
    "train_lam",
    "relabel_episodes",
    "train_action_decoders",
    "train_policy",
    "finetune_online",
    "evaluate_agents",
)
GPU_COMMENTS = tuple(f"rule_{rule}_" for rule in GPU_RULES)


class WholeRun:
    """The run of one environment and seed of ``config/tiny.yaml`` in ``checkout``, which begins at once and goes on beside other tests.

    ``outage`` is when slurmctld was told to end and when it answered again, in seconds of the epoch. ``drained`` are the nodes that
    Slurm took out of service meanwhile, which went on after that, and why.
    """

    def __init__(self, cluster: PrivateCluster, checkout: Path) -> None:
        self.cluster, self.checkout = cluster, checkout
        self.outage: tuple[float, float] | None = None
        self.drained: list[dict[str, str]] = []
        self.driver = Driver(cluster, checkout, "all", *IN_PART)
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor()
        self._side_work = [self._pool.submit(self._keep_in_service), self._pool.submit(self._outage)]

    def end(self) -> str:
        """What the driver said; it must succeed, and the outage have been. Asked again, it answers at once."""
        try:
            said = self.driver.wait(seconds=600)
        finally:
            self._ended.set()
        for work in self._side_work:
            work.result()
        return said

    def stop(self) -> None:
        """Whatever is left, also when no test asked for the end."""
        self._ended.set()
        self.driver.end()
        self._pool.shutdown()

    def gpu_jobs(self) -> list[tuple[str, str, str]]:
        """When each job with a GPU began and ended, by Slurm's own records (ISO 8601, seconds), and the node that it had."""
        listed = self.cluster.command("squeue", "--noheader", "--states=all", "--format=%k|%S|%e|%N").splitlines()
        jobs = [line.split("|") for line in listed]
        return sorted(
            (began, ended, node) for comment, began, ended, node in jobs if comment.startswith(GPU_COMMENTS) and node
        )

    def _running(self) -> list[str]:
        """Comments of the running jobs."""
        return self.cluster.command("squeue", "--noheader", "--states=RUNNING", "--format=%k").splitlines()

    def _keep_in_service(self) -> None:
        while not self._ended.wait(5):
            with suppress(AssertionError):  # slurmctld is away
                if drained := self.cluster.resume_drained_nodes():
                    self.drained.append(drained)

    def _outage(self) -> None:
        def trains() -> bool:
            return self._ended.is_set() or any(comment.startswith("rule_train_lam_") for comment in self._running())

        until(trains, seconds=600, what="the first training", poll=0.5)
        began = time.time()
        self.cluster.stop_controller()
        time.sleep(OUTAGE_SECONDS)
        self.cluster.start_controller()
        self.outage = (began, time.time())
