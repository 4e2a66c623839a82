"""Draw the neighbourhoods in the latent spaces of one environment's latent action models."""

from lamflow.stages.entry import run_stage

if __name__ == "__main__":
    run_stage(
        "plot_latent_umap",
        snakemake,
        episodes=snakemake.input.episodes,
        latents=snakemake.input.latents,
        output=snakemake.output.plot,
    )
