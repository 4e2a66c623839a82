"""Draw what one latent action model predicts under each code."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.plot_film_strip import plot_film_strip

        run(
            plot_film_strip,
            model=snakemake.input.model,
            episodes=snakemake.input.episodes,
            latents=snakemake.input.latents,
            output=snakemake.output.plot,
        )
