"""BERT as text encoder (Devlin et al., 2019, https://arxiv.org/abs/1810.04805).

It differs from CLIP's: no causal mask, so that padding has to be masked; layer norms after the
branches; and the first token represents the sentence. There is no dropout.
"""

from collections.abc import Sequence

from jaxtyping import Float, Int64
from torch import Tensor, nn

from palpate.models.clip.config import BertConfig
from palpate.models.clip.transformer import Encoder


class BertEmbeddings(nn.Module):
    """Token and position embeddings, normalised.

    BERT also adds an embedding for the first or second sentence. There is only one sentence here,
    so its embedding is part of the position embeddings.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embedding = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def placed(self, vectors: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Token embeddings plus position embeddings, normalised."""
        places = self.position_embedding.weight[: vectors.shape[1]]
        out: Tensor = self.layer_norm(vectors + places)
        return out


class BertTower(nn.Module):
    """The text encoder."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.pad_token_id = config.pad_token_id
        self.embeddings = BertEmbeddings(config)
        self.encoder = Encoder(
            config.num_hidden_layers, config.hidden_size, config.num_attention_heads,
            config.intermediate_size, config.hidden_act, config.layer_norm_eps, pre_norm=False,
        )  # fmt: skip

    def forward(
        self, tokens: Int64[Tensor, "b n"], taps: Sequence[int] = ()
    ) -> tuple[Float[Tensor, "b d"], list[Float[Tensor, "b d"]]]:
        """The sentence (first token), and that token after each of the blocks ``taps``."""
        return self.read(self.embeddings.token_embedding(tokens), tokens, taps)

    def read(
        self,
        vectors: Float[Tensor, "b n d"],
        tokens: Int64[Tensor, "b n"],
        taps: Sequence[int] = (),
    ) -> tuple[Float[Tensor, "b d"], list[Float[Tensor, "b d"]]]:
        """The same from token embeddings; ``tokens`` only say which are padding."""
        x, keep = self.embeddings.placed(vectors), tokens != self.pad_token_id
        found = {}
        for index, block in enumerate(self.encoder.layers):
            x = block(x, keep=keep)
            found[index] = x[:, 0]
        return x[:, 0], [found[tap] for tap in taps]
