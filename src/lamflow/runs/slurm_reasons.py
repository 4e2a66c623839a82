"""Reasons for which Slurm lets a job wait for ever, or until somebody acts, and what to do; squeue(1), JOB REASON CODES."""

from __future__ import annotations

import re

LIMIT = "See `sacctmgr show assoc user=$USER` and `sacctmgr show qos`"
REMEDIES = (
    (
        r"PartitionTimeLimit",
        "more time is asked for than the partition allows (`sinfo -o '%P %l'`). Give the rule another `slurm_partition` or a "
        "lower `runtime`, or these jobs less time: `scontrol update jobid=ID timelimit=MINUTES`",
    ),
    (r"PartitionNodeLimit", "the partition gives no job as many nodes. Ask for `nodes: 1`, or another partition"),
    (
        r"BadConstraints",
        "no node of the partition is as asked. Compare `constraint`, memory, cores and GPUs with `sinfo -o '%P %f %G %c %m'`",
    ),
    (r"InvalidAccount|AccountNotAllowed", "the account may not be used there. Set `slurm_account`"),
    (r"InvalidQOS|QOSNotAllowed", "the quality of service may not be used there. Set `qos`"),
    (
        r"(Assoc|QOS)\w*PerJob\w*|AssociationTimeLimit|QOSTimeLimit",
        f"one job asks for more than the account or the quality of service ever gives one. {LIMIT}, and ask for less",
    ),
    (
        r"(AssocGrp|QOSGrp)\w*(Minutes|Mins)\w*|QOSUsageThreshold",
        f"the budget of the account is used up. {LIMIT}, and set another `slurm_account` or `qos`",
    ),
    (
        r"PartitionDown|PartitionInactive",
        "the partition takes no jobs at present. Choose another `slurm_partition`, or wait until it is up (`sinfo -s`)",
    ),
    (
        r"ReqNodeNotAvail\b.*",
        "nodes as asked are down, drained or reserved (`sinfo -R`, `scontrol show reservation`). Wait, ask for a `runtime` "
        "that ends before the reservation, or choose another `slurm_partition`",
    ),
    (
        r"Nodes_required_for_job_are_DOWN.*|Nodes required for job are DOWN.*|NodeDown",
        "nodes as asked are down, drained or reserved (`sinfo -R`). Wait, or choose another `slurm_partition`",
    ),
    (r"JobHeldUser", "you hold it: `scontrol release` it"),
    (
        r"JobHeldAdmin|JobHoldMaxRequeue|launch.failed.requeued.held",
        "an administrator or the fault of a node holds it. Ask the administrators",
    ),
    (r"DependencyNeverSatisfied", "it depends on a job that has failed. `scancel` it, and Snakemake submits it anew"),
)
"""Patterns of whole reasons. Limits on what runs at one time are not among them: such jobs start when others have ended."""


def remedy(reason: str) -> str | None:
    """Why a job with this reason does not start as asked, and what to do; None for one that starts in its turn."""
    for pattern, text in REMEDIES:
        if re.fullmatch(pattern, reason.strip("()")):
            return text
    return None
