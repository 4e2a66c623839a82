"""Draw the returns of online trainings against environment steps."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.plot_online_curves import plot_online_curves

        run(
            plot_online_curves,
            curves=snakemake.input.curves,
            episodes=snakemake.input.episodes,
            published=snakemake.input.published,
            bootstrap_samples=snakemake.params.bootstrap_samples,
            output=snakemake.output.plot,
        )
