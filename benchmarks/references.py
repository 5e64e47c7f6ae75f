"""Hand-written references: what a person who knows the tricks would write for each model. All losses are sums."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class BagScores(torch.autograd.Function):
    """Σ over each bag's words of log softmax(table (K, V))[:, word], from words (B, N): (B, K)."""

    @staticmethod
    def forward(ctx, table, words):
        normaliser = table.logsumexp(1)
        ctx.save_for_backward(table, normaliser, words)
        return functional.embedding_bag(words, table.t().contiguous(), mode="sum") - words.shape[1] * normaliser

    @staticmethod
    def backward(ctx, grad):
        table, normaliser, words = ctx.saved_tensors
        N = words.shape[1]
        found = (table - normaliser.unsqueeze(1)).exp_().mul_(-N * grad.sum(0).unsqueeze(1))
        hits = torch.zeros(table.shape[1], table.shape[0])
        hits.index_add_(0, words.reshape(-1), grad.repeat_interleave(N, 0))
        return found.add_(hits.t()), None


def mixture_loss(params: dict[str, Tensor], words: Tensor) -> Tensor:
    """-Σ log Σ_z p(z) Π p(x_t | z)."""
    return -(params["pi"].log_softmax(-1) + BagScores.apply(params["E"], words)).logsumexp(1).sum()


def gaussian_kl(loc: Tensor, log_scale: Tensor) -> Tensor:
    """Σ KL(N(loc, scale²) ‖ N(0, 1))."""
    return 0.5 * (loc.square() + (2 * log_scale).exp() - 2 * log_scale - 1).sum()


def image_vae_loss(net: nn.ModuleDict, x: Tensor) -> Tensor:
    """-ELBO of a VAE with a Bernoulli decoder, one draw."""
    torch.manual_seed(7)
    hidden = net["enc"](x).relu()
    loc, log_scale = net["mu"](hidden), net["ls"](hidden)
    z = loc + log_scale.exp() * torch.randn_like(loc)
    logits = net["d2"](net["d1"](z).relu())
    return functional.binary_cross_entropy_with_logits(logits, x, reduction="sum") + gaussian_kl(loc, log_scale)


def labelled_vae_loss(net: nn.ModuleDict, x: Tensor, y: Tensor, K: int) -> Tensor:
    """-ELBO of log p(x, y), y uniform and known, one draw of z."""
    torch.manual_seed(7)
    label = functional.one_hot(y, K).to(x.dtype)
    loc, width = net["enc"](torch.cat([x, label], -1)).chunk(2, -1)
    scale = functional.softplus(width)
    z = loc + scale * torch.randn_like(loc)
    logits = net["dec"](torch.cat([z, label], -1))
    kl = gaussian_kl(loc, scale.log()) + len(x) * math.log(K)
    return functional.binary_cross_entropy_with_logits(logits, x, reduction="sum") + kl


def sentence_vae_loss(net: nn.ModuleDict, x: Tensor, lens: Tensor, mask: Tensor) -> Tensor:
    """-ELBO of a sentence VAE; only real words reach the softmax. Word 1 stands before the first."""
    torch.manual_seed(7)
    B, T = x.shape
    states = net["enc"](net["emb"](x))[0][torch.arange(B), lens - 1]
    loc, log_scale = net["mu"](states), net["ls"](states)
    z = loc + log_scale.exp() * torch.randn_like(loc)
    before = functional.pad(x[:, :-1], (1, 0), value=1)
    hidden = net["dec"](torch.cat([net["emb"](before), z.unsqueeze(1).expand(-1, T, -1)], -1))[0]
    return functional.cross_entropy(net["out"](hidden[mask]), x[mask], reduction="sum") + gaussian_kl(loc, log_scale)


def discrete_vae_loss(net: nn.ModuleDict, x: Tensor, M: int, K: int, S: int) -> Tensor:
    """-ELBO of M categorical latents with a uniform prior: score function, leave-one-out over S draws."""
    B = len(x)
    log_q = net["enc"](x).view(B, M, K).log_softmax(-1)
    z = torch.multinomial(log_q.detach().exp().view(-1, K), S, replacement=True).view(B, M, S).permute(2, 0, 1)
    first, last = net["dec"][0], net["dec"][2]
    rows = z + K * torch.arange(M)  # a one-hot vector times a matrix is a sum of its rows
    hidden = functional.embedding_bag(rows.reshape(-1, M), first.weight.t(), mode="sum").view(S, B, -1) + first.bias
    costs = functional.binary_cross_entropy_with_logits(
        last(hidden.relu()), x.expand(S, *x.shape), reduction="none"
    ).sum(-1)
    signal = costs.detach()
    advantage = (signal - signal.mean(0)) * (S / (S - 1))
    log_z = log_q.expand(S, B, M, K).gather(-1, z.unsqueeze(-1)).sum((2, 3))
    score = (advantage * log_z).mean(0).sum()
    return costs.mean(0).sum() + (log_q.exp() * (log_q + math.log(K))).sum() + score - score.detach()


def mixture_vae_loss(net: nn.ModuleDict, params: dict[str, Tensor], x: Tensor, lens: Tensor, mask: Tensor) -> Tensor:
    """-ELBO of a sentence VAE with a prior of Gaussians, one draw; the cluster's average is written out."""
    torch.manual_seed(7)
    B, T = x.shape
    states = net["enc"](net["emb"](x))[0][torch.arange(B), lens - 1]
    log_q = net["cluster"](states).log_softmax(-1)
    loc, raw = net["code"](states).chunk(2, -1)
    scale, spread = functional.softplus(raw), functional.softplus(params["spread"])
    z = loc + scale * torch.randn_like(loc)
    before = functional.pad(x[:, :-1], (1, 0), value=1)
    hidden = net["dec"](torch.cat([net["emb"](before), z.unsqueeze(1).expand(-1, T, -1)], -1))[0]
    words = functional.cross_entropy(net["out"](hidden[mask]), x[mask], reduction="sum")
    apart = ((loc.unsqueeze(1) - params["centre"]) / spread).square() + (scale.unsqueeze(1) / spread).square()
    divergence = 0.5 * (apart - 1).sum(-1) + spread.log().sum(-1) - scale.log().sum(-1, keepdim=True)
    return words + (log_q.exp() * (log_q - params["prior"].log_softmax(-1) + divergence)).sum()


class ChunkedScores(torch.autograd.Function):
    """log softmax(h W')[y], h (N, D), W (V, D), y (N, R) -> (N, R): 128 rows of logits at a time, made again backward."""

    @staticmethod
    def forward(ctx, h, W, y):
        scores, normaliser = h.new_empty(y.shape), h.new_empty(len(h))
        for i in range(0, len(h), 128):
            logits = h[i : i + 128] @ W.t()
            torch.logsumexp(logits, -1, out=normaliser[i : i + 128])
            torch.gather(logits, 1, y[i : i + 128], out=scores[i : i + 128])
        ctx.save_for_backward(h, W, y, normaliser)
        return scores.sub_(normaliser.unsqueeze(-1))

    @staticmethod
    def backward(ctx, grad):
        h, W, y, normaliser = ctx.saved_tensors
        d_h, d_W, total = torch.empty_like(h), torch.zeros_like(W), -grad.sum(-1)
        for i in range(0, len(h), 128):
            rows = slice(i, i + 128)
            p = (h[rows] @ W.t()).sub_(normaliser[rows, None]).exp_().mul_(total[rows, None])
            p.scatter_add_(1, y[rows], grad[rows])
            torch.mm(p, W, out=d_h[rows])
            d_W.addmm_(p.t(), h[rows])
        return d_h, d_W, None


def copying_loss(params: dict[str, Tensor], s: Tensor, y: Tensor) -> Tensor:
    """-Σ log (copy Σ_m a_m [s_m = y_t] + (1 - copy) softmax(W h_t + b)[y_t]), a = softmax over m of h_t · src_m."""
    src, hid = params["src"], params["hid"]
    logit = functional.linear(hid, params["gate.weight"], params["gate.bias"]).squeeze(-1)
    shares = (hid @ src.mT).softmax(-1)
    copied = (shares * (s.unsqueeze(1) == y.unsqueeze(2))).sum(-1)
    logits = functional.linear(hid, params["out.weight"], params["out.bias"]).flatten(0, 1)
    written = -functional.cross_entropy(logits, y.flatten(), reduction="none").view(y.shape)
    return -(logit.sigmoid() * copied + (-logit).sigmoid() * written.exp()).log().sum()


def average_loss(params: dict[str, Tensor], y: Tensor) -> Tensor:
    """-Σ log softmax(W (h_t + Σ_m a_m src_m) + b)[y_t], a = softmax over m of h_t · src_m."""
    src, hid = params["src"], params["hid"]
    read = hid + (hid @ src.mT).softmax(-1) @ src
    logits = functional.linear(read, params["out.weight"], params["out.bias"]).flatten(0, 1)
    return functional.cross_entropy(logits, y.flatten(), reduction="sum")


def attention_loss(params: dict[str, Tensor], y: Tensor) -> Tensor:
    """-Σ log Σ_m p(z = m) p(y | m), the emission by the position alone or by the decoder's state too."""
    at, src, W = params["at"], params["src"], params["W"]
    B, T, M = at.shape
    if "hid" in params:
        rows = torch.tanh(src.unsqueeze(1) + params["hid"].unsqueeze(2)).flatten(0, 2)
        scores = ChunkedScores.apply(rows, W, y.unsqueeze(-1).expand(B, T, M).reshape(-1, 1)).view(B, T, M)
    else:
        symbols = y.unsqueeze(1).expand(B, M, T).reshape(B * M, T)
        scores = ChunkedScores.apply(src.flatten(0, 1), W, symbols).view(B, M, T).transpose(1, 2)
    return -(at.log_softmax(-1) + scores).logsumexp(-1).sum()
