"""Draw the fraction of agents above each normalised return."""

from lamflow.stages.entry import run_stage

if __name__ == "__main__":
    run_stage(
        "plot_performance_profile",
        snakemake,
        profile=snakemake.input.profile,
        output=snakemake.output.plot,
    )
