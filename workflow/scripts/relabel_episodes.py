"""Relabel one split's episodes with the latent actions of one model."""

from lamflow.stages.entry import run_stage

if __name__ == "__main__":
    run_stage(
        "relabel_episodes",
        snakemake,
        env=snakemake.wildcards.env,
        lam=snakemake.wildcards.lam,
        seed=int(snakemake.wildcards.seed),
        model=snakemake.input.model,
        episodes=snakemake.input.episodes,
        output=snakemake.output.latents,
    )
