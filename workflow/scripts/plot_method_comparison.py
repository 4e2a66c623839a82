"""Draw all methods at one number of labels."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.plot_method_comparison import plot_method_comparison

        run(
            plot_method_comparison,
            aggregate=snakemake.input.aggregate,
            labels=snakemake.params.labels,
            output=snakemake.output.plot,
        )
