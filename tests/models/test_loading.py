"""Model directories in every form they come in, and everything that is not one."""

import json
import pickle

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from palpate.models import load_model
from palpate.models.files.weights import find_model, fingerprint, write_weights

from . import tiny


@pytest.fixture
def copy(clipseg, tmp_path):
    """A copy of the tiny model's directory that may be damaged."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in clipseg.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def state(clipseg):
    return load_file(clipseg / "model.safetensors")


def rewrite(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def same_weights(one, other):
    assert one.base_hash == other.base_hash
    ours, theirs = one.net.state_dict(), other.net.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_pickled_weights_load_equal(copy, state, clipseg):
    (copy / "model.safetensors").unlink()
    torch.save(state, copy / "pytorch_model.bin")
    same_weights(load_model(copy), load_model(clipseg))


def test_sharded_weights_load_equal(hf, clipseg, tmp_path):
    hf.save_pretrained(tmp_path, max_shard_size="50KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    same_weights(load_model(tmp_path), load_model(clipseg))


@pytest.mark.parametrize("file", ["model.safetensors", "model.fp16.safetensors"])
def test_half_precision_weights_load_as_single(file, copy, state):
    (copy / "model.safetensors").unlink()
    save_file({k: v.half() for k, v in state.items()}, copy / file)
    loaded = load_model(copy).net.state_dict()
    assert all(torch.equal(loaded[k], v.half().float()) for k, v in state.items())


def test_buffers_saved_by_older_versions_are_ignored(copy, state, clipseg):
    old = {
        "clip.text_model.embeddings.position_ids": torch.arange(77)[None],
        "clip.vision_model.embeddings.position_ids": torch.arange(5)[None],
    }
    save_file(state | old, copy / "model.safetensors")
    same_weights(load_model(copy), load_model(clipseg))


def test_the_fingerprint_knows_values_names_and_shapes(state):
    name = "clip.text_projection.weight"
    plain = fingerprint(state)
    assert fingerprint(dict(reversed(state.items()))) == plain
    changed = state[name].clone()
    changed[0, 0] += 1e-6
    assert fingerprint(state | {name: changed}) != plain
    assert fingerprint(state | {name: state[name].flatten()}) != plain
    assert fingerprint({**state, "other": state[name]}) != plain


def test_written_weights_are_readable_as_the_umask_says(tmp_path):
    write_weights({"x": torch.ones(2)}, tmp_path / "a.safetensors", {"said": "so"})
    (tmp_path / "plain").touch()
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.safetensors", "plain"]


@pytest.mark.parametrize("file", ["preprocessor_config.json", "processor_config.json"])
def test_the_image_processor_decides_size_and_normalisation(file, copy):
    values = {"size": {"height": 64, "width": 64}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    nested = {"image_processor": values, "processor_class": "CLIPSegProcessor"}
    (copy / file).write_text(json.dumps(values if file.startswith("pre") else nested))
    model = load_model(copy)
    seen = model.to_network(torch.full((1, 3, 50, 70), 0.75))
    torch.testing.assert_close(seen, torch.ones(1, 3, 64, 64))


@pytest.mark.reference
def test_a_processor_saved_by_transformers_is_understood(copy):
    from transformers import CLIPSegProcessor, CLIPTokenizer
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    processor = CLIPSegProcessor(
        ViTImageProcessorPil(size={"height": 48, "width": 48}, image_mean=[0.1, 0.2, 0.3]),
        CLIPTokenizer.from_pretrained(copy),
    )
    processor.save_pretrained(copy)
    model = load_model(copy)
    assert model.preprocessing.size == 48
    assert model.preprocessing.mean == (0.1, 0.2, 0.3)
    assert model.tokenizer(["polyp"]).shape == (1, 3)


def test_without_a_processor_the_image_decides_and_normalisation_is_imagenets(clipseg):
    model = load_model(clipseg)
    assert model.input_size(64, 64) == 64
    assert model.input_size(64, 48) == 32  # the tower's own size
    assert model.preprocessing.mean == (0.485, 0.456, 0.406)
    assert model.preprocessing.std == (0.229, 0.224, 0.225)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ({"height": 40, "width": 40}, "asks for 40 pixels, which patches of 16 do not divide"),
        ({"height": 32, "width": 48}, "to make squares"),
    ],
)
def test_processors_that_do_not_fit_are_refused(size, message, copy):
    (copy / "preprocessor_config.json").write_text(json.dumps({"size": size}))
    with pytest.raises(ValueError, match=message):
        load_model(copy)


def test_other_models_are_refused_before_their_weights_are_read(copy):
    (copy / "model.safetensors").unlink()
    rewrite(copy / "config.json", model_type="vit")
    with pytest.raises(ValueError, match=r"copy cannot be loaded.*CLIPSeg.*got model_type 'vit'"):
        load_model(copy)


def test_an_unknown_activation_is_refused_with_the_folder_named(copy):
    config = json.loads((copy / "config.json").read_text())
    rewrite(copy / "config.json", text_config=config["text_config"] | {"hidden_act": "swish"})
    with pytest.raises(ValueError, match=r"copy cannot be loaded.*hidden_act.*got 'swish'"):
        load_model(copy)


def test_an_empty_directory_is_not_a_model(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing.*is not a model"):
        load_model(tmp_path)


def test_a_directory_without_weights_says_which_files_it_wants(copy):
    (copy / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"no weights: expected model\.safetensors or "):
        load_model(copy)


@pytest.mark.parametrize("text", ["{", "[1]"], ids=["cut off", "no object"])
def test_a_damaged_configuration_is_named(text, copy):
    (copy / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"JSON.*config\.json|config\.json.*JSON"):
        load_model(copy)


def test_weights_that_do_not_fit_list_the_first_ten_names(copy, state):
    lost = sorted(name for name in state if "text_model" in name)
    kept = {k: v for k, v in state.items() if k not in lost}
    save_file(kept | {"vision_head.weight": torch.ones(1)}, copy / "model.safetensors")
    with pytest.raises(ValueError, match=rf"{len(lost)} tensors are missing") as caught:
        load_model(copy)
    message = str(caught.value)
    assert all(name in message for name in lost[:10])
    assert lost[10] not in message
    assert "1 are not expected (vision_head.weight)" in message


def test_weights_of_another_shape_are_named(copy, state):
    name = "decoder.film_mul.weight"
    save_file(state | {name: torch.ones(16, 31)}, copy / "model.safetensors")
    with pytest.raises(ValueError, match=rf"{name}: expected \(16, 32\), got \(16, 31\)"):
        load_model(copy)


def test_truncated_weights_are_named(copy):
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"model\.safetensors cannot be read as plain"):
        load_model(copy)


def test_a_missing_shard_is_named(hf, tmp_path):
    hf.save_pretrained(tmp_path, max_shard_size="50KB")
    lost = sorted(tmp_path.glob("*.safetensors"))[1]
    lost.unlink()
    with pytest.raises(FileNotFoundError, match=f"{lost.name} is missing although"):
        load_model(tmp_path)


def test_an_index_without_a_map_is_refused(copy):
    (copy / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ValueError, match=r"weight_map in .*index\.json"):
        load_model(copy)


WRONG_SIZES = [
    ({"reduce_dim": "abc"}, "reduce_dim to be an integer of at least 1, got 'abc'"),
    ({"extract_layers": 3}, "extract_layers as a list, got 3"),
    ({"extract_layers": ["a"]}, "extract_layers .* integer of at least 0, got 'a'"),
    ({"decoder_num_attention_heads": 3}, "of decoder to be a multiple of its 3 heads, got 16"),
    ({"decoder_num_attention_heads": 0}, "decoder_num_attention_heads to be an integer.*got 0"),
    ({"vision_config": {"patch_size": 0}}, "patch_size to be an integer of at least 1, got 0"),
    ({"vision_config": {"patch_size": 64, "image_size": 32}}, "image_size of at least a patch"),
    ({"vision_config": {"num_attention_heads": 5}}, "VisionConfig .* its 5 heads, got 768"),
    (
        {"text_config": {"hidden_size": 24, "num_attention_heads": 5}},
        "TextConfig .* 5 heads, got 24",
    ),
    ({"text_config": {"layer_norm_eps": 0}}, "layer_norm_eps above 0, got 0"),
    ({"vision_config": [1]}, "vision_config to be a JSON object"),
    ({"palpate": [1]}, "palpate to be a JSON object"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG_SIZES)
def test_sizes_of_which_no_network_can_be_made_are_refused(changes, message, copy, unchecked):
    rewrite(copy / "config.json", **changes)
    with pytest.raises(ValueError, match=f"copy cannot be loaded: Expected .*{message}"):
        load_model(copy)


@pytest.mark.parametrize(
    ("processor", "message"),
    [
        (
            {"image_mean": [0.5, 0.5]},
            r"an image_mean of three numbers, got \[0.5, 0.5",
        ),
        ({"image_mean": 0.5}, "copy to have an image_mean of three numbers, got 0.5"),
        (
            {"image_mean": [0.5, "a", 0.5]},
            "copy cannot be loaded: Expected one mean",
        ),
        ({"image_std": [0, 0, 0]}, "copy cannot be loaded: Expected one mean and one positive std"),
        ({"size": -16}, "copy cannot be loaded: Expected the size .* whole number .*got -16"),
        ({"size": "abc"}, "image processor of .*copy to give a size in pixels, got 'abc'"),
    ],
)
def test_preprocessing_that_makes_no_sense_is_refused(processor, message, copy, unchecked):
    (copy / "preprocessor_config.json").write_text(json.dumps(processor))
    with pytest.raises(ValueError, match=message):
        load_model(copy)


class Harmful:
    def __reduce__(self):
        return pytest.fail, ("the file's code was run",)


def test_pickled_code_is_not_run(copy):
    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(pickle.dumps({"x": Harmful()}))
    with pytest.raises(ValueError, match=r"pytorch_model\.bin cannot be read as plain") as refused:
        load_model(copy)
    assert "weights_only" not in str(refused.value)  # PyTorch's advice to run it all the same


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({"a": 1}, "Expected tensors by name in .*bin, or under .*, got something else for a"),
        ([1, 2], "Expected a state dict in .*pytorch_model.bin, got list"),
        ({1: torch.zeros(1)}, "got something else for 1"),
    ],
)
def test_a_pickle_of_something_else_is_refused(held, message, copy):
    (copy / "model.safetensors").unlink()
    torch.save(held, copy / "pytorch_model.bin")
    with pytest.raises(ValueError, match=message):
        load_model(copy)


def test_weights_of_a_compiled_network_load_equal(copy, state, clipseg):
    save_file({f"_orig_mod.{k}": v for k, v in state.items()}, copy / "model.safetensors")
    same_weights(load_model(copy), load_model(clipseg))
    (copy / "model.safetensors").unlink()
    torch.save({f"_orig_mod.{k}": v for k, v in state.items()}, copy / "pytorch_model.bin")
    same_weights(load_model(copy), load_model(clipseg))


def test_the_hub_may_be_named_as_open_clip_does(monkeypatch, clipseg):
    asked = []

    def fetch(name, **_):
        asked.append(name)
        return str(clipseg)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    assert find_model("hf-hub:owner/model") == clipseg
    assert load_model("hf-hub:owner/model").name == "hf-hub:owner/model"
    assert set(asked) == {"owner/model"}


def test_a_path_that_is_not_there_is_not_looked_up_on_the_hub(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"There is no directory or file .*not the name of a"
    ):
        load_model(tmp_path / "nothing")


def test_a_hub_name_without_network_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"'owner/model' is neither a directory.*network"):
        find_model("owner/model")


def test_hub_models_without_safetensors_are_fetched_as_pickled(monkeypatch, copy, state):
    (copy / "model.safetensors").unlink()
    wanted = []

    def snapshot(name, revision, allow_patterns):
        wanted.append((name, revision, allow_patterns))
        if "pytorch_model.bin" in allow_patterns:
            torch.save(state, copy / "pytorch_model.bin")
        return str(copy)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    model = load_model("owner/model", revision="v1")
    assert [(name, revision) for name, revision, _ in wanted] == [("owner/model", "v1")] * 2
    assert model.name == "owner/model"


def test_a_model_without_tokenizer_says_how_to_get_one(hf, tokenizer_folder, tmp_path, pixels):
    hf.save_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no tokenizer.*tokenizer=FOLDER"):
        load_model(tmp_path)(pixels, ["polyp", "skin"])
    load_model(tmp_path, tokenizer=tokenizer_folder)(pixels, ["polyp", "skin"])


def test_the_tokenizer_of_another_model_is_refused(vocabulary, tmp_path):
    configuration = tiny.config(vocabulary, text={"eos_token_id": 5})
    tiny.hugging_face(configuration).save_pretrained(tmp_path)
    tiny.write_tokenizer(tmp_path)
    with pytest.raises(ValueError, match=rf"not that of this model.* 5 at .*got {vocabulary - 1}"):
        load_model(tmp_path).condition(["polyp"])


def test_the_threshold_of_the_configuration_is_taken(copy):
    rewrite(copy / "config.json", palpate={"threshold": 0.35})
    model = load_model(copy)
    assert model.threshold == 0.35
    assert torch.tensor(model.threshold_logit).sigmoid().item() == pytest.approx(0.35)


def half(path, values):
    torch.save(values, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (half, "cannot be read as plain tensors"),
        (lambda path, _: path.write_bytes(b""), "cannot be read as plain tensors"),
        (lambda path, _: torch.save([Harmful()], path), "cannot be read as plain tensors"),
        (lambda path, values: torch.save(values, path), "got tensors called a, b"),
        (
            lambda path, values: torch.save(
                {"visual.conv1.weight": values["a"], "transformer.resblocks.0": values["b"]}, path
            ),
            "got those of a OpenAI CLIP",
        ),
    ],
)
def test_a_file_of_no_family_says_what_is_wrong_with_it(write, said, tmp_path):
    write(tmp_path / "model.pth", {"a": torch.zeros(1000), "b": torch.zeros(1)})
    with pytest.raises(ValueError, match=said):
        load_model(tmp_path / "model.pth")
