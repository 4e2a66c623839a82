"""Draw the return against the number of labels."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.plot_label_curve import plot_label_curve

        run(
            plot_label_curve,
            aggregate=snakemake.input.aggregate,
            episodes=snakemake.input.episodes,
            published=snakemake.input.published,
            statistic=snakemake.wildcards.statistic,
            output=snakemake.output.plot,
        )
