"""Relabel the episodes that policies are cloned from and validated on with the latent actions of one model."""

from lamflow.stages.entry import run_stage

if __name__ == "__main__":
    run_stage(
        "relabel_episodes.relabel_splits",
        snakemake,
        environment=snakemake.params.environment,
        lam=snakemake.wildcards.lam,
        seed=int(snakemake.wildcards.seed),
        model=snakemake.input.model,
        episodes=[snakemake.input.train, snakemake.input.validation],
        outputs=[snakemake.output.train, snakemake.output.validation],
    )
