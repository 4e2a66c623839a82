"""Which code a job's digest is of."""

from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.quantizers.fsq_settings import FsqSettings
from lamflow.stages.code import stage_code


def test_a_component_counts_with_its_settings_and_no_other_does() -> None:
    lam = OneStepSettings(quantizer=FsqSettings(), normalise=True)
    code = stage_code("lamflow.stages.train_lam", settings=lam)
    assert code.components == {
        *(f"lamflow.quantizers.{name}" for name in ("fsq", "fsq_settings")),
        *(f"lamflow.networks.{name}" for name in ("grid_encoder", "grid_dynamics", "grid_settings")),
        *(f"lamflow.lam.{name}" for name in ("one_step", "one_step_settings")),
    }
    assert stage_code("lamflow.stages.train_lam", settings=[{"lam": lam}, None]) == code
    assert stage_code("lamflow.stages.train_lam", settings=OneStepSettings()).digest != code.digest
