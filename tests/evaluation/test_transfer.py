"""Surrogates by victims, with real attacks on models that can be attacked."""

from functools import partial

import pytest
import torch
from pandas.testing import assert_frame_equal
from torch import nn

from palpate.attacks import noise, transfer, universal
from palpate.evaluation import evaluate, fit_universal_on, read_rows, transfer_matrix
from palpate.evaluation.sanity import card_from_rows

from .blobs import BlobFinder, blobs

EPSILON = 32 / 255
ATTACK = partial(transfer, steps=4)


class Other(BlobFinder):
    """Finds the same blobs with another filter."""

    def __init__(self):
        super().__init__()
        with torch.no_grad():
            nn.init.normal_(self.smooth.weight, 0.1, 0.15, torch.Generator().manual_seed(7))
            self.smooth.weight /= self.smooth.weight.sum((1, 2, 3), keepdim=True)


@pytest.fixture
def models():
    return {"zeta": BlobFinder(), "alpha": Other()}


def matrix(models, data=None, **settings):
    settings = {"epsilons": [EPSILON]} | settings
    return transfer_matrix(models, data or blobs(4), ATTACK, **settings)


def test_every_model_is_attacked_by_way_of_every_model(models):
    table = matrix(models, epsilons=[EPSILON / 2, EPSILON])
    names = list(table[["surrogate", "victim"]].itertuples(index=False, name=None))
    assert names == [(s, v) for s in models for v in models for _ in range(2)]
    assert table["epsilon"].tolist() == [EPSILON / 2, EPSILON] * 4
    assert (table["n"] == 4).all()
    assert (table["low"] <= table["dsc"]).all()
    assert (table["dsc"] <= table["high"]).all()


def test_a_cell_is_what_an_evaluation_of_its_own_says(models):
    cell = matrix(models).set_index(["surrogate", "victim"]).loc[("alpha", "zeta")]
    attacks = {"from alpha": partial(ATTACK, surrogate=models["alpha"])}
    rows = evaluate(models["zeta"], blobs(4), attacks, epsilons=[EPSILON])
    rows = rows[rows["attack"] != "clean"]
    assert cell["dsc"] == pytest.approx(rows["dsc"].mean())
    assert cell["dsc_clean"] == pytest.approx(rows["dsc_clean"].mean())
    assert cell["drop"] == pytest.approx((rows["dsc_clean"] - rows["dsc"]).mean())
    assert cell["success"] == rows["success"].mean()


def test_the_diagonal_is_the_white_box_and_the_worst_for_each_victim(models):
    dsc = matrix(models).pivot(index="surrogate", columns="victim", values="dsc")
    white = evaluate(models["zeta"], blobs(4), {"from zeta": ATTACK}, epsilons=[EPSILON])
    own = white[white["attack"] != "clean"]["dsc"].mean()
    assert dsc.loc["zeta", "zeta"] == pytest.approx(own, abs=1e-6)
    assert dsc.loc["zeta", "zeta"] <= dsc.loc["alpha", "zeta"]
    assert dsc.loc["alpha", "alpha"] <= dsc.loc["zeta", "alpha"]
    random = evaluate(models["zeta"], blobs(4), {"noise": noise}, epsilons=[EPSILON])
    assert dsc.loc["alpha", "zeta"] < random[random["attack"] == "noise"]["dsc"].mean()


def test_is_reproducible_and_picks_up_what_is_there(models, tmp_path):
    first = matrix(models, out=tmp_path)
    told = []
    again = matrix(models, out=tmp_path, progress=lambda *a: told.append(a))
    assert told == []
    assert_frame_equal(first, again)
    assert_frame_equal(first, matrix(models))


def test_a_model_can_be_added_later_but_not_be_exchanged(models, tmp_path):
    alone = matrix({"zeta": models["zeta"]}, out=tmp_path)
    both = matrix(models, out=tmp_path)
    kept = both[(both["surrogate"] == "zeta") & (both["victim"] == "zeta")].reset_index(drop=True)
    assert_frame_equal(kept, alone)
    assert len(read_rows(tmp_path / "zeta")) == 4 * 3
    with torch.no_grad():
        models["alpha"].smooth.weight *= 1.1
    with pytest.raises(ValueError, match=r"differ in attack\.from alpha "):
        matrix({"zeta": models["zeta"], "alpha": models["alpha"]}, out=tmp_path)


def test_passes_through_a_surrogate_are_counted_as_those_through_the_victim(models):
    attacks = {
        "white": ATTACK,
        "transfer": partial(ATTACK, surrogate=models["alpha"]),
        "transfer-scaled": partial(ATTACK, surrogate=models["alpha"], scales=3),
    }
    rows = evaluate(models["zeta"], blobs(3), attacks, epsilons=[EPSILON]).set_index("attack")
    for name, passes in (("white", 4), ("transfer", 4), ("transfer-scaled", 12)):
        assert set(rows.loc[name, "forwards"]) == {passes}
        assert set(rows.loc[name, "backwards"]) == {passes}
    # They say nothing about the gradient of the victim.
    card = card_from_rows(rows.loc[["clean", "transfer", "transfer-scaled"]].reset_index())
    statuses = {check.number: check.status for check in card}
    assert statuses[3] == statuses[17] == "not_run"


def test_leaves_models_as_they_were(models):
    models["alpha"].train()
    matrix(models)
    assert models["alpha"].training
    assert all(p.requires_grad and p.grad is None for m in models.values() for p in m.parameters())


def test_success_counts_the_images_that_were_found_before(models):
    """As in the main table: what was lost before is no attack's success, and no failure of it."""
    rows = evaluate(models["alpha"], blobs(4), {})
    tau = rows["dsc"].sort_values().iloc[1]  # two of four are lost
    table = matrix({"alpha": models["alpha"]}, tau=tau)
    assert table["n_eligible"].item() == 2
    assert table["success"].item() == 1.0


def test_refuses_no_models():
    with pytest.raises(ValueError, match="at least one model"):
        transfer_matrix({}, blobs(2))


def test_a_universal_perturbation_is_fitted_kept_and_evaluated_elsewhere(models, tmp_path):
    model, data = models["zeta"].train(), blobs(24)
    bright = [sample for sample in data if "bright" in sample.case.prompt]
    train, test = bright[:8], bright[8:]
    fit = partial(fit_universal_on, model, train, epsilon=EPSILON, batch_size=3, epochs=6)
    fitted = fit()
    assert torch.equal(fitted.delta, fit(state=tmp_path / "state.safetensors").delta)
    assert model.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert fitted.made_of["of.samples"] == "blobs test: 8"
    assert fitted.made_of["batches"] == "3"
    attacks = {
        "universal": partial(universal, perturbation=fitted),
        "shuffled": partial(universal, perturbation=fitted, shuffled=True),
        "noise": noise,
    }
    rows = evaluate(model, test, attacks, epsilons=[fitted.epsilon], out=tmp_path / "rows")
    dsc = rows.groupby("attack")["dsc"].mean()
    assert dsc["universal"] < min(dsc["shuffled"], dsc["noise"]) - 0.05
    other = fit(seed=1)
    again = {"universal": partial(universal, perturbation=other)}
    with pytest.raises(ValueError, match=r"differ in attack\.universal"):
        evaluate(model, test, again, epsilons=[fitted.epsilon], out=tmp_path / "rows")


def test_a_fit_to_other_samples_does_not_go_on(models, tmp_path):
    fit = partial(fit_universal_on, models["zeta"], epsilon=EPSILON, batch_size=4, epochs=1)
    fit(blobs(4), state=tmp_path / "state.safetensors")
    with pytest.raises(ValueError, match=r"differ in of\.data .*of\.samples|differ in of\.data"):
        fit(blobs(5)[1:], state=tmp_path / "state.safetensors")
