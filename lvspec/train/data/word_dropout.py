"""Word dropout (Bowman et al. 2016): x[<t] -> x~[<t], each word hidden as <unk> with a given probability.

Only prefixes are thinned, never the sentence that an inference network reads, nor the words that are predicted:
a prefix is recognised by the begin symbol (the last row of its embedding) at its first site.
"""

from __future__ import annotations

import torch
from torch import nn

from lvspec.emitted import EmittedModel
from lvspec.errors import UsageError


def add_word_dropout(model: EmittedModel, rate: float, vocabularies: set[int]) -> None:
    """Hide a share of each prefix's words while the model is in training mode; validation sees all of them.

    vocabularies: the sizes of word tables; an embedding that reads prefixes has one row more, the begin symbol's.
    """
    embeddings = [m for m in model.modules() if isinstance(m, nn.Embedding) and m.num_embeddings - 1 in vocabularies]
    if not embeddings:
        raise UsageError("train.word_dropout: no embedding of the model reads a prefix x[<t]")

    def thin(module: nn.Embedding, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        words = inputs[0]
        if not module.training or words.dim() < 2:
            return None
        begin = module.num_embeddings - 1
        hidden = torch.rand(words.shape, device=words.device) < rate
        hidden &= (words[..., :1] == begin) & (words != begin)
        return (words.masked_fill(hidden, 0), *inputs[1:])

    for embedding in embeddings:
        embedding.register_forward_pre_hook(thin)
