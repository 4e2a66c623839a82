"""Relabel the episodes that policies are cloned from and validated on with the latent actions of one model."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.relabel_episodes import relabel_splits

        run(
            relabel_splits,
            environment=snakemake.params.environment,
            lam=snakemake.wildcards.lam,
            seed=int(snakemake.wildcards.seed),
            model=snakemake.input.model,
            episodes=[snakemake.input.train, snakemake.input.validation],
            outputs=[snakemake.output.train, snakemake.output.validation],
        )
