"""Models to try attacks on texts on: a tiny CLIPSeg, and one where the optimum is known."""

from dataclasses import dataclass

import torch

from palpate.models import load_model

from ...models import tiny

PROMPT = "one small pink round polyp, located in the top left of the image"


def write_model(folder):
    """A tiny CLIPSeg with its tokenizer."""
    count = tiny.write_tokenizer(folder)
    tiny.hugging_face(tiny.config(count)).save_pretrained(folder)
    return folder


def listening(folder):
    """The tiny CLIPSeg, made to listen: as drawn it says the same to all texts.

    How a condition differs from that of ``PROMPT`` counts thirty times, and taps that know nothing
    of the text count a tenth; no bias of the head outweighs what comes in.
    """
    model = load_model(folder)
    decoder = model.net.decoder
    with torch.no_grad():
        usual = model.read([PROMPT])[0]
        for film in (decoder.film_mul, decoder.film_add):
            film.bias.sub_(29 * film.weight @ usual)
            film.weight.mul_(30)
        for reduce in decoder.reduces[1:]:
            reduce.weight.mul_(0.1)
        for part in decoder.transposed_convolution[::2]:
            part.bias.zero_()
        decoder.transposed_convolution[0].weight.mul_(5)
    return model


def answered(model, images, prompts):
    """Masks that the model gets right: what it says to these prompts."""
    with torch.no_grad():
        return model(images, prompts) > 0


WORDS = ("<s>", "</s>", "polyp", "mole", "red", "pink", "large", "no", "gut", "skin")


@dataclass(frozen=True)
class WordSum:
    """Adds up word vectors, and from there to the pixels is linear: all optima are known.

    Attributes:
        vectors: One per word.
        pixels: From a condition to the logits, ``(d, h * w)``.
    """

    vectors: torch.Tensor
    pixels: torch.Tensor
    special_tokens = frozenset({0, 1})

    @property
    def token_vectors(self):
        return self.vectors

    def __call__(self, images, prompts):
        return self.decode(self.encode(images), self.read(prompts))

    def encode(self, images):
        return images.mean((1, 2, 3))[:, None]

    def tokens(self, prompts):
        rows = [[0, *(WORDS.index(w) for w in prompt.split()), 1] for prompt in prompts]
        longest = max(map(len, rows))
        return torch.tensor([row + [1] * (longest - len(row)) for row in rows])

    def texts(self, tokens):
        return [" ".join(WORDS[t] for t in row if t > 1) for row in tokens.tolist()]

    def read(self, prompts):
        tokens = self.tokens(prompts)
        return self.read_vectors(self.vectors[tokens], tokens)

    def read_vectors(self, vectors, tokens):
        return (vectors * (tokens > 1)[..., None]).sum(1)

    def decode(self, encoded, condition):
        side = round(self.pixels.shape[1] ** 0.5)
        return (condition @ self.pixels + encoded).view(-1, 1, side, side)


def word_sum(seed=0):
    random = torch.Generator().manual_seed(seed)
    return WordSum(
        torch.randn(len(WORDS), 6, generator=random), torch.randn(6, 64, generator=random)
    )
