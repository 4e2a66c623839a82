"""Online decoding (LAPO's third stage, arXiv 2312.10812): a latent policy fine-tuned with rewards, or PPO from scratch."""

from __future__ import annotations

from lamflow.envs.spec import EnvironmentSpec
from lamflow.lam.learning import load_latent_action_model
from lamflow.lam.model import LatentActionModel
from lamflow.methods.acting import policy_agent
from lamflow.methods.jobs import Job
from lamflow.methods.latent_settings import LatentMethodSettings
from lamflow.methods.online_settings import OnlineMethodSettings
from lamflow.methods.rewards import OnlineTraining
from lamflow.policies.agents import Agent
from lamflow.policies.decoders import no_decode
from lamflow.policies.members import Member, read_policies
from lamflow.policies.network import PolicyNetwork
from lamflow.policies.settings import ActionSelection
from lamflow.rl.online import DecoderRefits
from lamflow.rl.online_files import MEMBER, read_online_policy
from lamflow.rl.online_policies import FinetunedPolicy, OnlinePolicy, ScratchPolicy
from lamflow.training.checkpoint import seed_everything
from lamflow.training.precision import default_device


class Online:
    """An agent that begins as a latent policy, or as nothing."""

    def __init__(self, settings: OnlineMethodSettings) -> None:
        self.settings = settings

    def online(self, job: Job, tuned: LatentMethodSettings) -> OnlineTraining:
        """The agent of its variant, with the refits of a decoder in rl_sl."""
        settings = self.settings
        seed_everything(job.seed)
        header = {"variant": settings.variant}
        policy, lam = None, None
        if settings.variant != "scratch":
            path = job.file("tuned_policy")
            (policy,) = read_policies(path, job.spec, method=settings.of, seed=job.seed)[1]
        if settings.variant == "rl_sl":
            lam = load_latent_action_model(job.file("tuned_lam"), spec=job.spec, lam=tuned.lam, seed=job.seed)
        agent = make_online_policy(settings, tuned, job.spec, policy, lam).to(default_device())
        if lam is None:
            return OnlineTraining(agent, settings.ppo, header)
        assert isinstance(agent, FinetunedPolicy)
        steps = settings.ppo.steps_a_rollout
        refits = DecoderRefits(agent, lam, settings.decoder, steps_a_rollout=steps, seed=job.seed)
        return OnlineTraining(agent, settings.ppo, header, refits, lam.settings)

    def agent(self, job: Job, action_selection: ActionSelection) -> tuple[list[Member], Agent]:
        """As it was trained; its labels are its own actions."""
        path = job.file("online_agent")
        network = read_online_policy(path, spec=job.spec, method=job.method, seed=job.seed).to(default_device())
        selection = self.settings.action_selection or action_selection
        return [MEMBER], policy_agent(job, [network], [MEMBER], no_decode(job.space), selection)


def make_online_policy(
    settings: OnlineMethodSettings,
    latent: LatentMethodSettings,
    spec: EnvironmentSpec,
    policy: PolicyNetwork | None,
    lam: LatentActionModel | None,
) -> OnlinePolicy:
    """The untrained agent; ``policy``: the latent one (not for scratch), ``lam``: whose codes it may answer (rl_sl)."""
    if settings.variant == "scratch":
        return ScratchPolicy(settings=latent.policy, spec=spec)
    assert policy is not None
    quantizer = lam.settings.quantizer if lam else None
    codes = quantizer is not None and latent.target == "codes"
    return FinetunedPolicy(
        policy,
        spec=spec,
        num_tokens=quantizer.num_tokens if codes and quantizer else 0,
        num_codes=quantizer.num_codes if codes and quantizer else 0,
        decoder_widths=settings.decoder.hidden_widths if settings.variant == "rl_sl" else None,
    )
