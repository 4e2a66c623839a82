"""Draw the fraction of agents above each normalised return."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.plot_performance_profile import plot_performance_profile

        run(
            plot_performance_profile,
            profile=snakemake.input.profile,
            output=snakemake.output.plot,
        )
