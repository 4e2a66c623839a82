"""Stops 5 and 6: action decoders, policies, and policies fine-tuned with rewards."""


rule train_action_decoders:
    input:
        unpack(inputs_of("decoders")),
    output:
        decoders="results/{experiment}/decoders/{env}/{method}/seed{seed}/decoders.safetensors",
    log:
        "results/{experiment}/logs/train_action_decoders/{env}/{method}/seed{seed}.log",
    benchmark:
        "results/{experiment}/benchmarks/train_action_decoders/{env}/{method}/seed{seed}.jsonl"
    wildcard_constraints:
        method=any_of(TARGETS.methods_with("decoders")),
    conda:
        "../../envs/learning.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
        gpu=method_gpus("decoders"),
    params:
        settings=method_settings_in("decoders"),
        labels=agent_labels,
        label_draws=agent_label_draws,
        environment=environment_facts,
        code=method_code_of("lamflow.stages.train_action_decoders", "decoders"),
    message:
        "Action decoders of {wildcards.method} on {wildcards.env}, seed {wildcards.seed}"
    script:
        "../scripts/train_action_decoders.py"


rule train_policy:
    input:
        unpack(inputs_of("policy")),
    output:
        policy="results/{experiment}/policies/{env}/{method}/seed{seed}/policy.safetensors",
        metrics="results/{experiment}/policies/{env}/{method}/seed{seed}/metrics.csv",
    log:
        "results/{experiment}/logs/train_policy/{env}/{method}/seed{seed}.log",
    benchmark:
        "results/{experiment}/benchmarks/train_policy/{env}/{method}/seed{seed}.jsonl"
    wildcard_constraints:
        method=any_of(TARGETS.methods_trained_unseen()),
    conda:
        "../../envs/learning.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
        gpu=method_gpus("policy"),
    params:
        settings=method_settings_in("policy"),
        labels=policy_labels,
        label_draws=policy_label_draws,
        devices=method_gpus("policy"),
        state_dir="results/{experiment}/state/policies/{env}/{method}/seed{seed}",
        environment=environment_facts,
        code=method_code_of("lamflow.stages.train_policy", "policy"),
    message:
        "Policy of {wildcards.method} on {wildcards.env}, seed {wildcards.seed}"
    script:
        "../scripts/train_policy.py"


# Of the environments in which agents play; of others, a policy that could play while it trains is trained as any other.
ruleorder: train_evaluated_policy > train_policy


rule train_evaluated_policy:
    input:
        unpack(inputs_of_evaluated),
    output:
        policy="results/{experiment}/policies/{env}/{method}/seed{seed}/policy.safetensors",
        metrics="results/{experiment}/policies/{env}/{method}/seed{seed}/metrics.csv",
        curve="results/{experiment}/policies/{env}/{method}/seed{seed}/curve.csv",
    log:
        "results/{experiment}/logs/train_evaluated_policy/{env}/{method}/seed{seed}.log",
    benchmark:
        "results/{experiment}/benchmarks/train_evaluated_policy/{env}/{method}/seed{seed}.jsonl"
    wildcard_constraints:
        env=any_of(TARGETS.played_envs()),
        method=any_of(TARGETS.played_in_training()),
    conda:
        "../../envs/simulation.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
        gpu=method_gpus("policy"),
    params:
        settings=method_settings_in("policy"),
        labels=policy_labels,
        label_draws=policy_label_draws,
        agent=method_settings_in("agent"),
        agent_labels=agent_labels,
        agent_label_draws=agent_label_draws,
        evaluation=training_rollouts,
        collection=level_settings,
        devices=method_gpus("policy"),
        state_dir="results/{experiment}/state/policies/{env}/{method}/seed{seed}",
        environment=environment_facts,
        code=method_code_of("lamflow.stages.train_evaluated_policy", "policy"),
        agent_code=method_code_of("lamflow.stages.evaluate_agents", "agent"),
    message:
        "Policy of {wildcards.method} on {wildcards.env}, seed {wildcards.seed}"
    script:
        "../scripts/train_evaluated_policy.py"


rule finetune_online:
    input:
        unpack(inputs_of("online")),
    output:
        agent="results/{experiment}/online/{env}/{method}/seed{seed}/agent.safetensors",
        curve="results/{experiment}/online/{env}/{method}/seed{seed}/curve.csv",
        metrics="results/{experiment}/online/{env}/{method}/seed{seed}/metrics.csv",
    log:
        "results/{experiment}/logs/finetune_online/{env}/{method}/seed{seed}.log",
    benchmark:
        "results/{experiment}/benchmarks/finetune_online/{env}/{method}/seed{seed}.jsonl"
    wildcard_constraints:
        method=any_of(TARGETS.methods_with("online")),
    conda:
        "../../envs/simulation.yaml"
    threads: online_threads
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
        gpu=method_gpus("online"),
    params:
        settings=method_settings_in("online"),
        latent=tuned_settings,
        collection=level_settings,
        state_dir="results/{experiment}/state/online/{env}/{method}/seed{seed}",
        environment=environment_facts,
        code=method_code_of("lamflow.stages.finetune_online", "online", also=tuned_parts),
    message:
        "Online training of {wildcards.method} on {wildcards.env}, seed {wildcards.seed}"
    script:
        "../scripts/finetune_online.py"
