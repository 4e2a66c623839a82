"""Draw the return against the number of labels."""

from lamflow.stages.entry import run_stage

if __name__ == "__main__":
    run_stage(
        "plot_label_curve",
        snakemake,
        aggregate=snakemake.input.aggregate,
        episodes=snakemake.input.episodes,
        published=snakemake.input.published,
        statistic=snakemake.wildcards.statistic,
        output=snakemake.output.plot,
    )
