"""What a run is about, in words: model, adapter, training, data, date, version and machine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palpate.evaluation.results.store import PROTOCOL_FILE, read_fingerprint
from palpate.models.checkpoints import Card, is_checkpoint, read_card
from palpate.pipeline.recipe.config import DataConfig, RunConfig
from palpate.training.watch import ATTACKED
from palpate.version import release


def about_run(
    config: RunConfig, folder: Path, environment: Mapping[str, Any] | None
) -> dict[str, str]:
    """Facts for the page and the sheet, by heading.

    Args:
        config: The recipe of the run.
        folder: The run folder; its checkpoint tells what was trained.
        environment: Content of ``environment.json``; None if there is none.
    """
    made, trained = environment or {}, _trained(config, folder)
    rows = folder / "rows"
    hashes = read_fingerprint(rows) if (rows / PROTOCOL_FILE).is_file() else {}
    return {
        "Model": ", ".join([_model(config), *_hash("weights", hashes)]),
        "Adapter": _adapter(trained),
        "Training": _training(config, trained),
        "Data": ", ".join([*_data(config), *_hash("data", hashes)]),
        "Date": str(made.get("date", "not recorded")),
        "palpate": _version(made),
        "Machine": _machine(made),
    }


def _trained(config: RunConfig, folder: Path) -> Card | None:
    """What the checkpoint of a run says of itself; None if nothing was trained."""
    place = config.model.checkpoint or folder / "checkpoint"
    return read_card(place) if config.model.trains and is_checkpoint(place) else None


def _model(config: RunConfig) -> str:
    if config.model.name is not None:
        return config.model.name
    assert config.model.build is not None
    return f"CLIPSeg built on {config.model.build.backbone.name}"


def _hash(name: str, hashes: Mapping[str, str]) -> list[str]:
    return [f"{name} hash {hashes[name][:12]}"] if name in hashes else []


def _adapter(trained: Card | None) -> str:
    if trained is None or trained.adapter is None:
        return "none"
    width = f"width {trained.adapter_width}" if trained.adapter_width else "published width"
    return f"{trained.adapter}, {width}, initial weights {trained.adapter_init}"


def _training(config: RunConfig, trained: Card | None) -> str:
    if not config.model.trains:
        return "none, the model was attacked as it is"
    settings, limit = config.train.settings, config.data.train_limit
    name = config.data.title or config.data.name
    on = f"{limit} samples of {name}" if limit else name
    epochs = f"{settings.epochs} epoch{'s' * (settings.epochs != 1)}"
    said = f"{epochs} on the training split of {on}, learning rate {settings.learning_rate:g}"
    if (against := config.train.adversarial) is not None:
        said += (
            f", against {against.attack} of {against.steps} steps at {against.epsilon_255:g}/255"
        )
        said += f" ({against.share:.0%} of each batch, objective {against.objective})"
    reached = trained.training.get("reached", {}) if trained else {}
    if "dsc" in reached:
        under = f" and {reached[ATTACKED]:.3f} under attack" if ATTACKED in reached else ""
        said += f", validation DSC {reached['dsc']:.3f}{under} in epoch {reached['epoch']}"
    return f"{said}, seed {config.seed}"


def _data(config: RunConfig) -> list[str]:
    data, split = config.data, config.evaluate.split
    said = [f"{data.attacked}{_variant(data)}, {split} split"]
    said += [f"at most {data.test_limit} samples"] if data.test_limit else []
    said += [f"{data.size} px" if data.size else "original size"]
    prompt = repr(data.override_prompt) if data.override_prompt else data.prompt
    return [*said, f"prompt {prompt}"]


def _variant(data: DataConfig) -> str:
    told = [data.appearance, data.annotations, data.images and str(data.images)]
    listed = ", ".join(str(each) for each in told if each)
    return f" ({listed})" if listed else ""


def _version(made: Mapping[str, Any]) -> str:
    version = made.get("packages", {}).get("palpate") or release()
    commit = made.get("commit")
    return f"{version}, commit {commit}" if commit else f"{version}, commit not known"


def _machine(made: Mapping[str, Any]) -> str:
    if not made:
        return "not recorded"
    gpu = made.get("cuda")
    memory, gpu_memory = made.get("memory_gb"), made.get("gpu_memory_gb")
    said = [
        f"{made.get('processor')}, {made.get('cores')} cores",
        f"{memory:g} GB memory" if memory else "",
        f"{gpu}{f' ({gpu_memory:g} GB)' if gpu_memory else ''}" if gpu else "no GPU",
        str(made.get("os") or made.get("platform") or ""),
        f"host {made['host']}" if made.get("host") else "",
    ]
    return ", ".join(filter(None, said))
