"""A learnt vocabulary is one that CLIP's tokenizer reads, and that fits its texts."""

import pytest

from palpate.models import learn_vocabulary
from palpate.models.clip.config import TextConfig
from palpate.models.clip.tokenizer import Tokenizer

TEXTS = ["one small pink polyp", "polyp", "Left ventricular cavity", "small oval skin lesion"] * 5


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabulary")
    return learn_vocabulary(TEXTS, folder, 600), folder


def tokenizer(learnt):
    count, folder = learnt
    return Tokenizer(folder, TextConfig(vocab_size=count, eos_token_id=count - 1))


def test_frequent_words_are_one_token(learnt):
    tokens = tokenizer(learnt)(["polyp", "small polyp", "Skin lesion"])
    assert (tokens != learnt[0] - 1).sum(1).tolist() == [2, 3, 3]  # with the start


def test_texts_differ_in_their_tokens(learnt):
    tokens = tokenizer(learnt)(sorted(set(TEXTS)))
    assert len({tuple(row.tolist()) for row in tokens}) == len(set(TEXTS))


def test_any_text_can_be_written(learnt):
    tokens = tokenizer(learnt)(["Überweisung 胃 \U0001fac0 — 3 mm"])
    assert int(tokens.max()) == learnt[0] - 1


def test_the_same_texts_give_the_same_files(learnt, tmp_path):
    learn_vocabulary(TEXTS, tmp_path, 600)
    for name in ("vocab.json", "merges.txt"):
        assert (tmp_path / name).read_bytes() == (learnt[1] / name).read_bytes()


def test_no_more_tokens_than_asked_for(tmp_path):
    assert learn_vocabulary(TEXTS, tmp_path, 520) == 520


def test_too_small_a_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match="above 514 tokens, got 514"):
        learn_vocabulary(TEXTS, tmp_path, 514)
