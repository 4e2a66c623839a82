"""Stop 1: demonstrators."""


rule train_expert:
    input:
        unpack(expert_inputs),
    output:
        expert="results/{experiment}/experts/{env}/expert.safetensors",
    log:
        "results/{experiment}/logs/train_expert/{env}.log",
    benchmark:
        "results/{experiment}/benchmarks/train_expert/{env}.jsonl"
    wildcard_constraints:
        env=any_of(env for env in EXPERIMENT.simulated_envs if not trained_on_pixels(env)),
    conda:
        "../../envs/simulation.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        settings=expert_settings,
        seed=DATA_SEED,
        state_dir="results/{experiment}/state/experts/{env}",
        environment=environment_facts,
        code=code_of("lamflow.stages.train_expert"),
    message:
        "Demonstrator of {wildcards.env}"
    script:
        "../scripts/train_expert.py"


# Simulator threads step one half of the games while the learner acts in the other.
rule train_pixel_expert:
    output:
        expert="results/{experiment}/experts/{env}/expert.safetensors",
    log:
        "results/{experiment}/logs/train_expert/{env}.log",
    benchmark:
        "results/{experiment}/benchmarks/train_expert/{env}.jsonl"
    wildcard_constraints:
        env=any_of(env for env in EXPERIMENT.simulated_envs if trained_on_pixels(env)),
    conda:
        "../../envs/simulation.yaml"
    threads: 8
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
        gpu=1,
    params:
        settings=expert_settings,
        seed=DATA_SEED,
        state_dir="results/{experiment}/state/experts/{env}",
        environment=environment_facts,
        code=code_of("lamflow.stages.train_expert"),
    message:
        "Demonstrator of {wildcards.env}"
    script:
        "../scripts/train_expert.py"


rule measure_expert:
    input:
        expert="results/{experiment}/experts/{env}/expert.safetensors",
    output:
        card="results/{experiment}/experts/{env}/card.md",
        numbers="results/{experiment}/experts/{env}/returns.json",
    log:
        "results/{experiment}/logs/measure_expert/{env}.log",
    benchmark:
        "results/{experiment}/benchmarks/measure_expert/{env}.jsonl"
    wildcard_constraints:
        env=any_of(env for env in EXPERIMENT.simulated_envs if EXPERIMENT.environment(env).family == "procgen"),
    conda:
        "../../envs/simulation.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        episodes=200,
        published=published_returns,
        seed=DATA_SEED,
        environment=environment_facts,
        code=code_of("lamflow.stages.measure_expert"),
    message:
        "Card of the expert of {wildcards.env}"
    script:
        "../scripts/measure_expert.py"
