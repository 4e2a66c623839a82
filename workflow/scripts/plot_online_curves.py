"""Draw the returns of online trainings against environment steps."""

from lamflow.stages.entry import run_stage

if __name__ == "__main__":
    run_stage(
        "plot_online_curves",
        snakemake,
        curves=snakemake.input.curves,
        episodes=snakemake.input.episodes,
        published=snakemake.input.published,
        bootstrap_samples=snakemake.params.bootstrap_samples,
        output=snakemake.output.plot,
    )
