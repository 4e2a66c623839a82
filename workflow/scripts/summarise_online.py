"""Write the learning curves of online trainings, and how many steps they save, as tables."""

from lamflow.stages.entry import run_stage

if __name__ == "__main__":
    run_stage(
        "summarise_online",
        snakemake,
        curves=snakemake.input.curves,
        episodes=snakemake.input.episodes,
        output_curves=snakemake.output.curves,
        output_efficiency=snakemake.output.efficiency,
        bootstrap_samples=snakemake.params.bootstrap_samples,
    )
