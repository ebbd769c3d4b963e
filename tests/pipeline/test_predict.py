"""`palpate predict`: the masks of a folder of images, by the model of a run or by any other."""

import numpy as np
import pytest
from PIL import Image

from palpate.cli import main
from palpate.evaluation import read_examples
from palpate.pipeline.run.run import config_of


def test_the_model_of_a_run_predicts_what_it_predicted_in_the_run(
    tuned, data_root, tmp_path, monkeypatch, capsys
):
    run, _, _ = tuned
    monkeypatch.chdir(tmp_path)
    main(["predict", str(run), "--images", str(data_root / "images"), "--prompts", "polyp",
          "--out", "out"])  # fmt: skip
    assert capsys.readouterr().out == "17 masks in out/masks\n"
    assert config_of(run).data.size == 32
    clean = [e for e in read_examples(run / "examples") if e.row.attack == "clean"]
    assert clean
    for example in clean:
        mask = np.asarray(Image.open(tmp_path / "out" / "masks" / f"{example.row.key}.png"))
        assert np.array_equal(mask > 0, example.prediction)


def test_a_model_that_reads_a_prompt_asks_for_one(clipseg, data_root, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(SystemExit, match="Give one or several: --prompts TEXT"):
        main(["predict", str(clipseg), "--images", str(data_root / "images"), "--out", str(out)])
    assert not out.exists()
