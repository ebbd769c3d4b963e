"""Fine-tuning adapters on images, from files to a checkpoint."""

import shutil

import pytest
import torch
from safetensors.torch import load_file

from palpate.data import Augmentation
from palpate.models import ADAPTERS, adapter_state, load_model
from palpate.training import train
from palpate.training.batches import shuffled
from palpate.training.loop import _groups
from palpate.training.train import TrainingImages
from palpate.training.validation import score

from .runs import EPOCHS, Stopped, settings, table, tune


def test_only_the_adapters_change(model_folder, train_data, val_data, tmp_path):
    model = tune(model_folder, train_data, val_data, tmp_path, adapter="dense-vlc")
    base = load_file(model_folder / "model.safetensors")
    after = model.net.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in base.items())
    fresh = adapter_state(load_model(model_folder, "dense-vlc", width=4).net)
    learned = adapter_state(model.net)
    assert [name for name in fresh if torch.equal(fresh[name], learned[name])] == []


# One of each kind, in as many places as it goes; the others take as long again.
QUICK = {"dense-vlc", "shallow-vlc", "telescopic-vlc", "lora-vl"}


@pytest.mark.parametrize(
    "adapter",
    [pytest.param(a, marks=[] if a in QUICK else [pytest.mark.slow]) for a in ADAPTERS],
)
def test_training_lowers_the_loss_of_every_adapter(
    adapter, model_folder, train_data, val_data, tmp_path
):
    tune(model_folder, train_data, val_data, tmp_path, adapter=adapter)
    losses = [float(row["loss"]) for row in table(tmp_path)]
    assert losses[-1] < losses[0]


@pytest.fixture(scope="module")
def rough(model_folder, train_data, val_data, tmp_path_factory):
    """A model, and the folder of its training at a rate far too high: scores go up and down."""
    folder = tmp_path_factory.mktemp("rough")
    return tune(model_folder, train_data, val_data, folder, learning_rate=0.5), folder


def test_the_checkpoint_is_that_of_the_best_epoch(rough, val_data):
    _, folder = rough
    scores = [float(row["dsc"]) for row in table(folder)]
    assert len(set(scores)) > 1
    best = load_model(folder)
    items = TrainingImages(val_data)
    assert score(best, items, best.threshold_logit, 4)["dsc"] == max(scores)


def test_the_model_itself_has_the_last_epochs_weights(rough, val_data):
    model, folder = rough
    last = float(table(folder)[EPOCHS - 1]["dsc"])
    assert score(model, TrainingImages(val_data), model.threshold_logit, 4)["dsc"] == last
    assert not model.training


def test_bfloat16_trains_full_precision_weights(model_folder, train_data, val_data, tmp_path):
    model = tune(model_folder, train_data, val_data, tmp_path, precision="bf16")
    assert all(p.dtype == torch.float32 for p in model.parameters())
    losses = [float(row["loss"]) for row in table(tmp_path)]
    assert losses[-1] < losses[0]
    same = load_model(model_folder, "dense-vl", width=4)  # and in training half precision stays
    same.load_state_dict(model.state_dict())
    assert torch.equal(pixel_gradient(model, val_data), pixel_gradient(same, val_data))


def test_prompts_are_drawn_anew_in_every_epoch(train_data):
    def prompts(epoch):
        return [
            prompt
            for batch in shuffled(TrainingImages(train_data), epoch, batch_size=4, seed=0)
            for prompt in batch.prompts
        ]

    assert prompts(0) == prompts(0)
    assert sorted(prompts(0)) != sorted(prompts(1))


def test_augmentation_depends_on_epoch_and_sample_alone(train_data):
    strong = Augmentation(flip_horizontal=0.5, rotate_degrees=30.0, colour=0.5)
    images = TrainingImages(train_data.augmented(strong))
    first, again, later = (images.with_epoch(epoch)[2] for epoch in (0, 0, 1))
    assert torch.equal(first.inputs, again.inputs)
    assert torch.equal(first.masks, again.masks)
    assert not torch.equal(first.inputs, later.inputs)
    plain = TrainingImages(train_data)[2]
    assert not torch.equal(first.inputs, plain.inputs)


def test_a_score_is_the_mean_over_images_and_knows_the_threshold(train_data):
    items = TrainingImages(train_data)
    brightness = torch.stack([items[i].inputs.mean(0, keepdim=True) for i in range(len(items))])
    masks = torch.stack([items[i].masks for i in range(len(items))])

    class Brightness(torch.nn.Conv2d):
        def forward(self, inputs, *_):
            return inputs.mean(1, keepdim=True)

    for threshold in (0.3, 0.6):
        found = brightness > threshold
        both, either = (found & masks).flatten(1).sum(1), (found | masks).flatten(1).sum(1)
        total = found.flatten(1).sum(1) + masks.flatten(1).sum(1)
        scores = score(Brightness(3, 1, 1), items, threshold, batch_size=3)
        assert scores["dsc"] == pytest.approx((2 * both / total).mean().item())
        assert scores["iou"] == pytest.approx((both / either).mean().item())


def test_a_broken_model_gets_no_score(model_folder, train_data):
    model = load_model(model_folder, "shallow-v", width=4)
    with torch.no_grad():
        model.net.tap_slots[0].up.bias.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="validation logit is not finite"):
        score(model, TrainingImages(train_data), 0.0, 4)


def test_an_empty_validation_split_is_refused(model_folder, train_data):
    empty = TrainingImages(train_data)
    with pytest.raises(ValueError, match="validation split is empty"):
        score(load_model(model_folder), [empty[i] for i in range(0)], 0.0, 4)


def test_settings_are_written_beside_the_weights(rough):
    _, folder = rough
    training = load_card(folder)["training"]
    assert training["settings"]["learning_rate"] == 0.5
    assert training["reached"]["dsc"] == max(float(row["dsc"]) for row in table(folder))


def load_card(folder):
    from palpate.models.files.weights import read_json

    return read_json(folder / "palpate.json")


def pixel_gradient(model, data):
    image = data[0].image[None].requires_grad_()
    model(image, [data[0].prompt]).square().sum().backward()
    return image.grad


def test_bfloat16_stays_in_a_training_that_was_stopped(
    model_folder, train_data, val_data, tmp_path
):
    model = load_model(model_folder, "dense-vl", width=4)
    before = pixel_gradient(model, val_data)

    def stop(stage, done, total, note=""):
        model.load_state_dict(load_model(model_folder, "dense-vl", width=4).state_dict())
        raise Stopped

    with pytest.raises(Stopped):
        train(model, train_data, val_data, tmp_path, settings(precision="bf16"), progress=stop)
    assert torch.equal(pixel_gradient(model.eval(), val_data), before)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_half_precision_without_a_gpu_is_refused(model_folder, train_data, val_data, tmp_path):
    with pytest.raises(ValueError, match=r"a GPU for precision fp16, got cpu"):
        tune(model_folder, train_data, val_data, tmp_path, precision="fp16")


def test_training_goes_on_from_a_checkpoint_in_another_folder_only(
    model_folder, train_data, val_data, tmp_path
):
    first, second = tmp_path / "first", tmp_path / "second"
    tune(model_folder, train_data, val_data, first)
    model = load_model(first)
    with pytest.raises(ValueError, match="holds a training with other"):
        train(model, train_data, val_data, first, settings())
    shutil.copytree(first, second)
    with pytest.raises(ValueError, match="holds a training with other"):
        train(model, train_data, val_data, second, settings())
    train(model, train_data, val_data, tmp_path / "third", settings())
    items = TrainingImages(val_data)
    best = [load_model(tmp_path / name) for name in ("first", "third")]
    reached = [score(each, items, each.threshold_logit, 4)["dsc"] for each in best]
    assert reached[1] >= reached[0] - 0.05


def test_adapters_drawn_from_another_seed_are_another_training(
    model_folder, train_data, val_data, stopped
):
    other = load_model(model_folder, "dense-vl", width=4, seed=5)
    with pytest.raises(ValueError, match="holds a training with other"):
        train(other, train_data, val_data, stopped, settings())


def test_only_what_is_pretrained_in_the_tower_learns_slowly(model_folder):
    model = load_model(model_folder, "dense-vl", width=4)
    model.learn("all")
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = _groups(model, settings(tower_rate=0.1))
    slow = [names[id(p)] for group in groups if group["share"] == 0.1 for p in group["params"]]
    fresh = adapter_state(model).keys()
    assert slow
    assert all("vision_model." in name for name in slow)
    assert not fresh & set(slow)
    assert sum(len(group["params"]) for group in groups) == len(names)


def test_a_model_without_a_known_tower_has_none_to_slow_down(train_data, val_data, tmp_path):
    model = load_model("monai/unet", options={"channels": [4, 8], "strides": [2]})
    model.learn("all")
    with pytest.raises(ValueError, match="tower_rate 1 for a model that does not name its image"):
        train(model, train_data, val_data, tmp_path, settings(tower_rate=0.1))
