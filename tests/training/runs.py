"""Small trainings, and what they leave behind."""

import csv

from safetensors.torch import load_file
from torch.nn.functional import dropout

from palpate.models import load_model
from palpate.training import TrainingSettings, train

EPOCHS, STEPS = 4, 3


Stopped = KeyboardInterrupt  # what a training is stopped with


def settings(**changes):
    return TrainingSettings(
        **(
            {
                "epochs": EPOCHS,
                "batch_size": 4,
                "learning_rate": 1e-2,
                "warmup_epochs": 1.0,
                "seed": 1,
            }
            | changes
        )
    )


def tune(model_folder, data, validation, out, *, adapter="dense-vl", stop_after=None, **changes):
    """Train an adapter; ``stop_after`` that many steps it is stopped before it is done."""
    model = load_model(model_folder, adapter, width=4)
    share = changes.pop("dropped", 0.0)
    model.register_forward_hook(lambda m, _, out: dropout(out, share, m.training))
    augmentation = changes.pop("augmentation", None)

    def progress(stage, done, total, note=""):
        assert total == EPOCHS * STEPS
        if done == stop_after:
            raise Stopped

    train(
        model,
        data.augmented(augmentation),
        validation,
        out,
        settings(**changes),
        progress=progress,
    )
    return model


def table(folder):
    """``metrics.csv`` without what no two runs share."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in r.items() if k not in ("seconds", "peak_memory_mb")} for r in rows]


def tensors(folder, name="state.safetensors"):
    return load_file(folder / name)


def same_tensors(one, other):
    assert one.keys() == other.keys()
    different = [name for name in one if not one[name].equal(other[name])]
    assert different == []
