"""CLIPSeg in files of other projects: of VLSM-Adapter, of MedVLSM, of its authors."""

import json

import pytest
import torch
from torch import nn

from palpate.models import load_model
from palpate.models.checkpoints import save_checkpoint
from palpate.models.clipseg.adapters import adapter_state
from palpate.models.families import find_family

from . import published, tiny

REACHES = ("v", "vl", "vlc")
NAMES = [
    pytest.param(f"{kind}-{reach}", marks=[pytest.mark.slow] if reach == "vl" else [])
    for kind in ("dense", "shallow")
    for reach in REACHES
]
TAPS = (1, 2, 3)
TEXT, VISION, JOINT, DEEPEST = 32, 48, 32, 3


def theirs(name, width=7, seed=0):
    """The adapters' tensors under the names of VLSM-Adapter."""
    kind, reach = name.split("-")
    lists = []
    if kind == "dense":
        lists += [
            (f"v_{at}_adapters.{i}", VISION) for at in ("attn", "out") for i in range(DEEPEST)
        ]
        if "l" in reach:
            lists += [
                (f"l_{at}_adapters.{i}", TEXT) for at in ("attn", "out") for i in range(DEEPEST)
            ]
    else:
        lists += [(f"vision_extract_adapters.{i}", VISION) for i in range(len(TAPS))]
        if "l" in reach:
            lists += [(f"text_extract_adapters.{i}", TEXT) for i in range(len(TAPS))]
    sizes = [(place, features, width) for place, features in lists]
    sizes += [("cond_adapter", JOINT, 256)] if "c" in reach else []
    draw = torch.Generator().manual_seed(seed)
    state = {}
    for place, features, inner in sizes:
        for layer, shape in (("fc1", (inner, features)), ("fc2", (features, inner))):
            state[f"{place}.{layer}.weight"] = torch.randn(shape, generator=draw) / shape[1] ** 0.5
            state[f"{place}.{layer}.bias"] = torch.randn(shape[0], generator=draw) / 4
    return state


def ours(state):
    """The same under the names that the independent forward pass in ``published`` asks for."""
    tower = "clip.{}_model.encoder.layers.{}.{}"
    places = {"cond_adapter": "condition_slot"}
    for i in range(DEEPEST):
        for letter, which in (("v", "vision"), ("l", "text")):
            places[f"{letter}_attn_adapters.{i}"] = tower.format(which, i, "after_attention")
            places[f"{letter}_out_adapters.{i}"] = tower.format(which, i, "after_mlp")
    for i, tap in enumerate(TAPS):
        places[f"vision_extract_adapters.{i}"] = f"tap_slots.{i}"
        places[f"text_extract_adapters.{i}"] = f"text_slots.{tap}"
    layers = {"fc1": "down", "fc2": "up"}
    found = {}
    for name, tensor in state.items():
        place, layer, kind = name.rsplit(".", 2)
        found[f"{places[place]}.{layers[layer]}.{kind}"] = tensor
    return found


def network(hf, adapters, *, twice=False):
    """The state dict of the whole network; the shallow one names the towers a second time."""
    whole = {f"clipseg.{name}": value for name, value in hf.state_dict().items()}
    if twice:
        whole |= {k.removeprefix("clipseg."): v for k, v in whole.items() if ".clip." in k}
    return whole | adapters


def lightning(state):
    return {
        "state_dict": {f"net.{name}": value for name, value in state.items()},
        "hyper_parameters": {"loss_fn": nn.BCEWithLogitsLoss()},
        "pytorch-lightning_version": "2.2.4",
    }


@pytest.fixture
def tokens(vocabulary):
    return torch.tensor(
        [[vocabulary - 2, 5, 9, vocabulary - 1], [vocabulary - 2, 7] + 2 * [vocabulary - 1]]
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_of_vlsm_adapter_computes_what_it_computed(
    name, hf, clipseg, tokens, pixels, tmp_path
):
    adapters = theirs(name)
    state = network(hf, adapters, twice=name.startswith("shallow"))
    torch.save(lightning(state), tmp_path / "best.ckpt")
    model = load_model(tmp_path / "best.ckpt", base=clipseg)
    assert (model.adapter, model.adapter_init, model.adapter_width) == (name, "paper", 7)
    with torch.no_grad():
        tiny.same(
            model.net(pixels, model.net.condition(tokens)),
            published.logits(hf, ours(adapters), name, pixels, tokens),
        )
    learning = {n for n, p in model.net.named_parameters() if p.requires_grad}
    assert learning == adapter_state(model.net).keys() == ours(adapters).keys()
    assert not model.fresh


@pytest.mark.parametrize("form", [dict, lightning], ids=["state dict", "Lightning"])
def test_a_fine_tuned_clipseg_of_medvlsm_is_read_whole(
    form, hf, clipseg, pixels, tmp_path, vocabulary
):
    tuned = tiny.hugging_face(tiny.config(vocabulary), seed=9)
    torch.save(form(network(tuned, {})), tmp_path / "last.ckpt")
    model = load_model(tmp_path / "last.ckpt", base=clipseg)
    assert model.adapter is None
    wanted = tuned.state_dict()
    assert all(value.equal(wanted[name]) for name, value in model.net.state_dict().items())
    adapted = load_model(tmp_path / "last.ckpt", "dense-v", base=clipseg)
    assert adapted(pixels, prompts=["polyp", "skin"]).equal(
        model(pixels, prompts=["polyp", "skin"])
    )


@pytest.mark.parametrize(
    ("bias", "got"), [(None, "got none"), (torch.tensor(1.0), r"got shape \(\)")]
)
def test_adapters_without_a_width_are_refused(bias, got, hf, clipseg, tmp_path):
    state = network(hf, theirs("dense-v"))
    del state["v_attn_adapters.0.fc1.bias"]
    torch.save(
        state | ({} if bias is None else {"v_attn_adapters.0.fc1.bias": bias}), tmp_path / "b.pth"
    )
    with pytest.raises(ValueError, match=rf"b\.pth cannot be loaded: .*\.0\.fc1\.bias with.*{got}"):
        load_model(tmp_path / "b.pth", base=clipseg)


def test_what_was_trained_on_goes_to_a_checkpoint_and_back(hf, clipseg, pixels, tmp_path):
    torch.save(network(hf, theirs("dense-vl")), tmp_path / "best.pth")
    model = load_model(tmp_path / "best.pth", options={"base": str(clipseg)})
    with torch.no_grad():
        next(p for p in model.parameters() if p.requires_grad).add_(0.5)
    save_checkpoint(model, tmp_path / "tuned")
    again = load_model(tmp_path / "tuned")
    assert again(pixels, prompts=["polyp", "skin"]).equal(model(pixels, prompts=["polyp", "skin"]))


WRONG = {
    "text alone": (
        {"l_attn_adapters.0.fc1.bias": torch.zeros(3)},
        "Expected adapters in the image",
    ),
    "one missing": ({"v_out_adapters.2.fc2.bias": None}, "1 tensors are missing"),
    "one too many": ({"v_out_adapters.3.fc2.bias": torch.zeros(3)}, "1 are not expected"),
    "another width": ({"v_out_adapters.1.fc1.weight": torch.zeros(6, VISION)}, "other shapes"),
    "of nothing": ({"head.weight": torch.zeros(3)}, r"not expected \(head.weight\)"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused(change, message, hf, clipseg, tmp_path):
    adapters = {} if message.startswith("Expected adapters") else theirs("dense-v")
    state = {k: v for k, v in (network(hf, adapters) | change).items() if v is not None}
    torch.save(state, tmp_path / "best.pth")
    with pytest.raises(ValueError, match=message):
        load_model(tmp_path / "best.pth", base=clipseg)


def test_another_adapter_than_the_files_is_refused(hf, clipseg, tmp_path):
    torch.save(network(hf, theirs("dense-v")), tmp_path / "best.pth")
    with pytest.raises(ValueError, match="brings its own adapter dense-v, got shallow-v"):
        load_model(tmp_path / "best.pth", "shallow-v", base=clipseg)


def test_a_base_is_refused_where_there_is_none(clipseg):
    with pytest.raises(ValueError, match=r"Expected options of .* got 'base'"):
        load_model(clipseg, base=clipseg)


def authors_decoder(refined, reduce=6, hidden=10, seed=0, heads=2):
    """A decoder as PyTorch's own layers compute it, and its state dict as the authors have it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = (
            nn.Sequential(
                nn.Conv2d(reduce, reduce, 3, padding=1),
                nn.ReLU(),
                nn.ConvTranspose2d(reduce, reduce // 2, 4, stride=4),
                nn.ReLU(),
                nn.ConvTranspose2d(reduce // 2, 1, 4, stride=4),
            )
            if refined
            else nn.ConvTranspose2d(reduce, 1, 16, stride=16)
        )
        blocks = (
            nn.TransformerEncoderLayer(reduce, heads, hidden, batch_first=True) for _ in range(3)
        )
        net = nn.ModuleDict(
            {
                "film_mul": nn.Linear(JOINT, reduce),
                "film_add": nn.Linear(JOINT, reduce),
                "reduce": nn.Linear(VISION, reduce),
                "reduces": nn.ModuleList(nn.Linear(VISION, reduce) for _ in range(3)),
                "blocks": nn.ModuleList(blocks),
                "trans_conv": head,
            }
        )
        with torch.no_grad():
            for parameter in net.parameters():
                if parameter.dim() == 1:
                    parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return net.eval()


def decoded(net, taps, condition, cond_layer=0):
    x = torch.zeros(())
    for index, tap in enumerate(reversed(taps)):
        x = x + net["reduces"][index](tap)
        if index == cond_layer:
            x = net["film_mul"](condition)[:, None] * x + net["film_add"](condition)[:, None]
        x = net["blocks"][index](x)
    side = round((x.shape[1] - 1) ** 0.5)
    return net["trans_conv"](x[:, 1:].mT.unflatten(2, (side, side)))


@pytest.mark.parametrize("refined", [False, True])
def test_a_decoder_of_the_authors_goes_onto_the_base(refined, hf, tokens, pixels, tmp_path):
    base = tmp_path / "base"
    configuration = tiny.config(hf.config.text_config.vocab_size, decoder_num_attention_heads=2)
    whole = tiny.hugging_face(configuration)
    whole.save_pretrained(base)
    tiny.write_tokenizer(base)
    net = authors_decoder(refined)
    torch.save(net.state_dict(), tmp_path / "rd64-uni.pth")
    assert find_family(str(tmp_path / "rd64-uni.pth"))[0] == "clipseg-file"
    model = load_model(tmp_path / "rd64-uni.pth", base=base)
    with torch.no_grad():
        taps, condition = model.net.features(pixels), model.net.condition(tokens)
        tiny.same(model.net.decode(taps, condition), decoded(net, taps, condition))
    towers = {k: v for k, v in whole.state_dict().items() if k.startswith("clip.")}
    assert all(model.net.state_dict()[k].equal(v) for k, v in towers.items())


def test_a_decoder_with_more_than_ours_is_refused(clipseg, tmp_path):
    state = authors_decoder(refined=False, reduce=8).state_dict()
    torch.save(state | {"upsample_proj.weight": torch.zeros(1)}, tmp_path / "rd64-uni.pth")
    with pytest.raises(ValueError, match=r"not expected \(decoder.upsample_proj.weight\)"):
        load_model(tmp_path / "rd64-uni.pth", base=clipseg)
    del state["film_mul.weight"]
    torch.save(state, tmp_path / "rd64-uni.pth")
    with pytest.raises(ValueError, match=r"lack 'film_mul.weight', which a decoder has"):
        load_model(tmp_path / "rd64-uni.pth", base=clipseg)


OTHER = {"extract_layers": [1, 2, 4], "cond_layer": 1, "n_heads": 3, "rev_activations": True}


@pytest.fixture
def other(tmp_path):
    """A decoder that was trained with other hyper-parameters, which its file does not tell."""
    net = authors_decoder(refined=False, heads=3)
    path = tmp_path / "logs" / "weights.pth"
    path.parent.mkdir()
    torch.save(net.state_dict(), path)
    return net, path


@pytest.mark.parametrize("told", ["options", "config.json"])
def test_a_decoder_with_other_hyper_parameters_computes_what_it_computed(
    told, other, hf, clipseg, tokens, pixels, tmp_path
):
    net, path = other
    if told == "config.json":
        config = {"model": "models.clipseg.CLIPDensePredT", "reduce_dim": 6, "n_tokens": None}
        path.with_name("config.json").write_text(json.dumps(config | OTHER))
        model = load_model(path, base=clipseg)
    else:
        model = load_model(path, base=clipseg, options=OTHER)
        assert model.traits["decoder"] == OTHER
    with torch.no_grad():
        states = hf.clip.vision_model(pixel_values=pixels, output_hidden_states=True).hidden_states
        taps = [states[layer + 1] for layer in OTHER["extract_layers"]]
        condition = model.net.condition(tokens)
        expected = decoded(net, taps[::-1], condition, cond_layer=1)
        tiny.same(model.net(pixels, condition), expected)
    if told == "options":
        model.learn("decoder")
        save_checkpoint(model, tmp_path / "tuned")
        again = load_model(tmp_path / "tuned")
        assert again(pixels, prompts=["polyp", "skin"]).equal(model(pixels, ["polyp", "skin"]))


def test_a_decoder_that_does_not_tell_its_hyper_parameters_is_refused(other, clipseg):
    _, path = other

    def refused(message, **options):
        with pytest.raises(ValueError, match=message):
            load_model(path, base=clipseg, options=options)

    refused(r"weights\.pth does not tell the layers and heads .* rd64-uni, .*extract_layers")
    refused("3 decoder layers, and 2 layers of the image", extract_layers=[1, 2])
    refused(r"ascending numbers from 1, .* got \[0, 1, 2\]", extract_layers=[0, 1, 2])
    refused(r"ascending numbers from 1, .* got '1, 2, 4'", extract_layers="1, 2, 4")
    refused("Expected weights of CLIPSeg without n_tokens, got n_tokens 32", n_tokens=32)
    refused("rev_activations to be true or false, got 'no'", rev_activations="no")
    refused("the text would change nothing", cond_layer=3, n_heads=3)
