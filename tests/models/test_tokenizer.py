"""Prompts to tokens, against Hugging Face's own tokenizer."""

import pytest
import torch

from palpate.models.clip.config import TextConfig
from palpate.models.clip.tokenizer import Tokenizer

WORDS = ["polyp", "Skin, dark!", "", "a  tiny   POLYP's edge", "é ü 息肉"]


@pytest.fixture
def tokenizer(tokenizer_folder, vocabulary):
    return Tokenizer(
        tokenizer_folder, TextConfig(vocab_size=vocabulary, eos_token_id=vocabulary - 1)
    )


@pytest.fixture
def theirs(tokenizer_folder):
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(tokenizer_folder)


@pytest.mark.reference
@pytest.mark.parametrize("text", WORDS)
def test_tokens_equal_hugging_faces(text, tokenizer, theirs):
    assert tokenizer([text]).tolist() == [theirs(text)["input_ids"]]


@pytest.mark.reference
@pytest.mark.parametrize("words", [74, 75, 76, 300])
def test_long_texts_are_cut_but_keep_their_end(words, tokenizer, theirs, vocabulary):
    text = " ".join(["polyp"] * words)
    tokens = tokenizer([text])
    assert tokens.tolist() == [theirs(text, truncation=True, max_length=77)["input_ids"]]
    assert tokens.shape == (1, min(words + 2, 77))
    assert tokens[0, -1] == vocabulary - 1


def test_shorter_texts_are_padded_with_the_end(tokenizer, vocabulary):
    tokens = tokenizer(["polyp", "polyp skin polyp"])
    assert tokens.shape == (2, 5)
    assert tokens[0, 2:].tolist() == [vocabulary - 1] * 3


def test_files_are_read_on_first_use_only(tokenizer_folder, tmp_path):
    Tokenizer(tmp_path, TextConfig())  # nothing there, nothing asked


@pytest.mark.parametrize(("size", "end"), [(100, None), (None, 7)], ids=["vocabulary", "end"])
def test_the_tokenizer_of_another_model_is_refused(size, end, tokenizer_folder, vocabulary):
    config = TextConfig(vocab_size=size or vocabulary, eos_token_id=end or vocabulary - 1)
    with pytest.raises(ValueError, match="not that of this model"):
        Tokenizer(tokenizer_folder, config)(["polyp"])


def test_old_configurations_take_the_highest_token_as_the_end(tokenizer_folder, vocabulary):
    old = Tokenizer(tokenizer_folder, TextConfig(vocab_size=vocabulary, eos_token_id=2))
    assert old(["polyp"])[0, -1] == vocabulary - 1


@pytest.mark.real_data
@pytest.mark.reference
def test_clips_own_vocabulary_gives_clips_numbers(weights_root):
    tokenizer = Tokenizer(weights_root / "clip_tokenizer", TextConfig())
    expected = torch.tensor([[49406, 320, 1125, 539, 320, 2368, 49407]])
    assert torch.equal(tokenizer(["a photo of a cat"]), expected)
