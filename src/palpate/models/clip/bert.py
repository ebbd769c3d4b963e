"""BERT as text encoder (Devlin et al., 2019, https://arxiv.org/abs/1810.04805).

It differs from CLIP's text encoder: attention is not causal, so padding must be masked; layer
normalisation follows the residual addition (post-norm); and the first token represents the text.
There is no dropout.
"""

from collections.abc import Sequence

from jaxtyping import Float, Int64
from torch import Tensor, nn

from palpate.models.clip.config import BertConfig
from palpate.models.clip.transformer import Encoder


class BertEmbeddings(nn.Module):
    """Sum of token and position embeddings, followed by a layer norm.

    BERT also adds a segment embedding, which tells a first sentence from a second. There is only
    one segment here, so the conversion adds its embedding to the position embeddings.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embedding = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def placed(self, vectors: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Add position embeddings to token embeddings, and normalise."""
        places = self.position_embedding.weight[: vectors.shape[1]]
        out: Tensor = self.layer_norm(vectors + places)
        return out


class BertTower(nn.Module):
    """BERT's encoder; the output is the hidden state of the first token."""

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
        """Encode tokens ``(b, n)``.

        Returns:
            The first token's hidden state after the last block, and its hidden states after the
            blocks listed in ``taps`` (0 is the first block).
        """
        return self.read(self.embeddings.token_embedding(tokens), tokens, taps)

    def read(
        self,
        vectors: Float[Tensor, "b n d"],
        tokens: Int64[Tensor, "b n"],
        taps: Sequence[int] = (),
    ) -> tuple[Float[Tensor, "b d"], list[Float[Tensor, "b d"]]]:
        """Like :meth:`forward`, but from token embeddings; ``tokens`` only mark the padding."""
        x, keep = self.embeddings.placed(vectors), tokens != self.pad_token_id
        found = {}
        for index, block in enumerate(self.encoder.layers):
            x = block(x, keep=keep)
            found[index] = x[:, 0]
        return x[:, 0], [found[tap] for tap in taps]
