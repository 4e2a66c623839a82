"""Draw the neighbourhoods in the latent spaces of one environment's latent action models."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.plot_latent_umap import plot_latent_umap

        run(
            plot_latent_umap,
            episodes=snakemake.input.episodes,
            latents=snakemake.input.latents,
            output=snakemake.output.plot,
        )
