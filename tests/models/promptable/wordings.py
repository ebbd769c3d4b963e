"""Attacks on the text of models that take image and text together only."""

from palpate.attacks.text import TEXT_ATTACKS
from palpate.data import load_data
from palpate.evaluation import evaluate


def try_wordings(model, names=("text-levels", "text-typos", "text-negation"), images=2):
    """The worst of several wordings is never better than the prompt itself, and is another one."""
    data = load_data("phantom-endoscopy", size=64, prompt="p1", limit=images)
    attacks = {name: TEXT_ATTACKS[name] for name in names}
    rows = evaluate(model, data, attacks)
    pressed = rows[rows["attack"] != "clean"]
    assert set(pressed["attack"]) == set(attacks)
    assert (pressed["forwards"] > 1).all()
    levels = rows[rows["attack"] == "text-levels"]
    assert (levels["dsc"] <= levels["dsc_clean"]).all()
    negated = pressed.loc[pressed["attack"] == "text-negation", "prompt"]
    clean = rows.loc[rows["attack"] == "clean", "prompt"]
    assert set(negated).isdisjoint(clean)
