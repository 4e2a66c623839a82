"""Stops 3 and 4: latent action models, and episodes relabelled with latent actions."""


rule train_lam:
    input:
        train="results/{experiment}/data/{env}/train.zarr",
        validation="results/{experiment}/data/{env}/validation.zarr",
    output:
        model="results/{experiment}/lam/{env}/{lam}/seed{seed}/model.safetensors",
        metrics="results/{experiment}/lam/{env}/{lam}/seed{seed}/metrics.csv",
    log:
        "results/{experiment}/logs/train_lam/{env}/{lam}/seed{seed}.log",
    benchmark:
        "results/{experiment}/benchmarks/train_lam/{env}/{lam}/seed{seed}.jsonl"
    conda:
        "../../envs/learning.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
        gpu=lam_gpus,
    params:
        settings=lam_settings,
        state_dir="results/{experiment}/state/lam/{env}/{lam}/seed{seed}",
        environment=environment_facts,
        code=code_of("lamflow.stages.train_lam", lam_parts),
    message:
        "Latent action model {wildcards.lam} on {wildcards.env}, seed {wildcards.seed}"
    script:
        "../scripts/train_lam.py"


rule relabel_episodes:
    input:
        model="results/{experiment}/lam/{env}/{lam}/seed{seed}/model.safetensors",
        train="results/{experiment}/data/{env}/train.zarr",
        validation="results/{experiment}/data/{env}/validation.zarr",
    output:
        train=directory("results/{experiment}/latents/{env}/{lam}/seed{seed}/train.zarr"),
        validation=directory("results/{experiment}/latents/{env}/{lam}/seed{seed}/validation.zarr"),
    log:
        "results/{experiment}/logs/relabel_episodes/{env}/{lam}/seed{seed}.log",
    benchmark:
        "results/{experiment}/benchmarks/relabel_episodes/{env}/{lam}/seed{seed}.jsonl"
    conda:
        "../../envs/learning.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
        gpu=1,
    params:
        environment=environment_facts,
        code=code_of("lamflow.stages.relabel_episodes", lam_parts),
    message:
        "Latent actions by {wildcards.lam} on {wildcards.env}, seed {wildcards.seed}"
    script:
        "../scripts/relabel_episodes.py"
