"""A finished network is attacked from its file, by the command line, and nothing trains it."""

import pytest
import torch
from torch import nn

from palpate.cli import main
from palpate.evaluation.results.store import read_rows
from palpate.pipeline.recipe.config import ModelConfig


@pytest.fixture
def network(tmp_path):
    """A grey network that segments what is bright, for any size and number of images."""
    net = nn.Conv2d(1, 1, 1).eval()
    nn.init.constant_(net.weight, 20.0)
    nn.init.constant_(net.bias, -9.0)
    free = {0: torch.export.Dim("b"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")}
    program = torch.export.export(net, (torch.rand(2, 1, 32, 32),), dynamic_shapes=(free,))
    torch.export.save(program, tmp_path / "net.pt2")
    return tmp_path / "net.pt2"


def test_one_command_leads_from_a_file_to_a_table(network, data_root, tmp_path, capsys):
    main(
        f"run --out {tmp_path / 'run'} --model.name {network} --data.name folder "
        f"--data.root {data_root} --data.size 32 --data.test-limit 2 --evaluate.attacks fgsm "
        "--evaluate.epsilon-255 64 --evaluate.metrics dsc --evaluate.sanity-samples 0".split()
    )
    assert "as it is, attacked with fgsm" in capsys.readouterr().err
    assert not (tmp_path / "run" / "checkpoint").exists()
    rows = read_rows(tmp_path / "run" / "rows")
    means = rows.groupby("attack").dsc.mean()
    assert means["clean"] > 0.9
    assert means["fgsm"] < means["clean"]


def test_attacks_that_need_a_gradient_are_refused_before_any_is_run(data_root, tmp_path):
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\nclass Dark(nn.Module):\n    def forward(self, x):\n"
        "        return 0.4 - x.detach().mean(1, keepdim=True)\n\ndef make():\n    return Dark()\n"
    )
    words = (
        f"run --out {tmp_path / 'run'} --model.name {tmp_path / 'net.py'}:make --data.name folder "
        f"--data.root {data_root} --data.size 32 --data.test-limit 1 --model.learns nothing "
        "--evaluate.attacks noise pgd square sea"
    )
    with pytest.raises(SystemExit) as stopped:
        main(words.split())
    said = str(stopped.value.code)
    assert "the attacks pgd, sea need one. " in said
    assert "that work without: noise, square." in said
    assert not list(tmp_path.glob("run/rows/*.parquet"))


def test_a_finished_network_is_trained_only_if_a_setting_says_so(network):
    assert not ModelConfig(name=str(network)).trains
    assert ModelConfig(name=str(network), learns="all").trains
    assert ModelConfig(name="monai/unet").trains
