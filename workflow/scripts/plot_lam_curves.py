"""Draw the learning curves of one environment's latent action models."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.plot_lam_curves import plot_lam_curves

        run(
            plot_lam_curves,
            metrics=snakemake.input.metrics,
            runs=snakemake.params.runs,
            output=snakemake.output.plot,
        )
