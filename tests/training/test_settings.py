import pytest

from palpate.training import TrainingSettings


def test_the_defaults_are_those_of_the_published_study():
    settings = TrainingSettings()
    assert (settings.epochs, settings.batch_size, settings.clip_norm) == (200, 32, 0.5)
    assert (settings.learning_rate, settings.weight_decay) == (1e-3, 1e-3)
    assert (settings.warmup_epochs, settings.final_learning_rate) == (20, 0.01)
    assert (settings.dice_weight, settings.bce_weight) == (1.5, 1.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "epochs > 0, got 0"),
        ({"batch_size": -1}, "batch_size > 0, got -1"),
        ({"learning_rate": float("nan")}, "learning_rate > 0, got nan"),
        ({"weight_decay": -0.1}, "weight_decay >= 0, got -0.1"),
        ({"workers": -1}, "workers >= 0, got -1"),
        ({"epochs": 5}, "warmup_epochs < epochs, got 20 and 5"),
        ({"warmup_epochs": -1.0}, "0 <= warmup_epochs"),
        ({"schedule": "steps"}, "schedule to be one of step, epoch, plateau, got 'steps'"),
        ({"schedule": "plateau"}, "warmup_epochs 0 with schedule plateau, got 20"),
        ({"plateau_factor": 1.0}, "0 < plateau_factor < 1, got 1.0"),
        ({"early_stopping": -1}, "early_stopping >= 0, got -1"),
        ({"min_epochs": 0}, "min_epochs > 0, got 0"),
        ({"precision": "half"}, "precision to be one of fp32, bf16, fp16, got 'half'"),
    ],
    ids=str,
)
def test_senseless_settings_are_refused(wrong, message, monkeypatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        TrainingSettings(**wrong)
