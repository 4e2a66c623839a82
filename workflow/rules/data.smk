"""Stop 2: episodes."""


rule collect_episodes:
    input:
        expert="results/{experiment}/experts/{env}/expert.safetensors",
    output:
        episodes=directory("results/{experiment}/data/{env}/{split}.zarr"),
    log:
        "results/{experiment}/logs/collect_episodes/{env}/{split}.log",
    benchmark:
        "results/{experiment}/benchmarks/collect_episodes/{env}/{split}.jsonl"
    wildcard_constraints:
        env=any_of(envs_from("expert")),
    # First of all, or a job of two threads would wait until the long trainings leave it two cores.
    priority: 1
    conda:
        "../../envs/simulation.yaml"
    threads: collection_threads
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        settings=collection_settings,
        seed=DATA_SEED,
        environment=environment_facts,
        code=code_of("lamflow.stages.collect_episodes"),
    message:
        "Episodes of {wildcards.env}, {wildcards.split} split"
    script:
        "../scripts/collect_episodes.py"


# Beside the driver: it opens the members' stores and writes which they are.
rule join_episodes:
    input:
        episodes=member_stores,
    output:
        episodes=directory("results/{experiment}/data/{env}/{split}.zarr"),
    log:
        "results/{experiment}/logs/join_episodes/{env}/{split}.log",
    benchmark:
        "results/{experiment}/benchmarks/join_episodes/{env}/{split}.jsonl"
    wildcard_constraints:
        env=any_of(env for env in EXPERIMENT.envs if EXPERIMENT.environment(env).members),
    localrule: True
    conda:
        "../../envs/datasets.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        shares=member_shares,
        environment=environment_facts,
        code=code_of("lamflow.stages.join_episodes"),
    message:
        "Episodes of {wildcards.env}, {wildcards.split} split, joined from those of its members"
    script:
        "../scripts/join_episodes.py"
