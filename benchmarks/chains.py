"""Hand-written references for chains: rescaled probabilities, and the backward algorithm as the gradient."""

from __future__ import annotations

import torch
from torch import Tensor


class MatrixChain(torch.autograd.Function):
    """log Z (B,) of a chain whose state is a matrix, which a step multiplies by left' and right from both sides.

    start (R, C), left (R, R), right (C, C), log-likelihoods (T, B, R, C); three chains of K states have R = K², C = K.
    """

    @staticmethod
    def forward(ctx, start, left, right, log_likelihood):
        T, B, R, C = log_likelihood.shape
        top = log_likelihood.amax((2, 3), keepdim=True)
        likelihood = (log_likelihood - top).exp_()
        alpha, pushed = torch.empty_like(likelihood), torch.empty_like(likelihood)
        norm = likelihood.new_empty(T, B, 1, 1)
        turned = left.t().expand(B, R, R)
        torch.mul(likelihood[0], start, out=alpha[0])
        rows = [x.unbind(0) for x in (alpha, pushed, likelihood, norm)]
        for t, (now, half, here, c) in enumerate(zip(*rows, strict=True)):
            if t:
                torch.mm(rows[0][t - 1].view(B * R, C), right, out=half.view(B * R, C))
                torch.bmm(turned, half, out=now)
                now.mul_(here)
            torch.sum(now, (1, 2), keepdim=True, out=c)
            now.div_(c)
        ctx.save_for_backward(start, left, right, likelihood, alpha, pushed, norm)
        return (norm.log() + top).sum((0, 2, 3))

    @staticmethod
    def backward(ctx, grad):
        start, left, right, likelihood, alpha, pushed, norm = ctx.saved_tensors
        T, B, R, C = alpha.shape
        arriving = likelihood / norm  # becomes beta_t p_t / c_t
        beta, half = torch.empty_like(alpha), torch.empty_like(alpha)
        beta[-1] = grad.view(B, 1, 1)
        spread, back = left.expand(B, R, R), right.t()
        rows = [x.unbind(0) for x in (arriving, half, beta)]
        for t in range(T - 1, 0, -1):
            arrived, between, after = (row[t] for row in rows)
            arrived.mul_(after)
            torch.bmm(spread, arrived, out=between)
            torch.mm(between.view(B * R, C), back, out=rows[2][t - 1].view(B * R, C))
        arriving[0].mul_(beta[0])
        d_right = alpha[:-1].reshape(-1, C).t() @ half[1:].reshape(-1, C)
        flat = [x[1:].reshape(-1, R, C).transpose(0, 1).reshape(R, -1) for x in (pushed, arriving)]
        return arriving[0].sum(0), flat[0] @ flat[1].t(), d_right, beta.mul_(alpha)


class PlainChain(torch.autograd.Function):
    """log Z (B,) of an ordinary chain: start (K), step (K, K), log-likelihoods (T, B, K)."""

    @staticmethod
    def forward(ctx, start, step, log_likelihood):
        top = log_likelihood.amax(-1, keepdim=True)
        likelihood = (log_likelihood - top).exp_()
        alpha, norm = torch.empty_like(likelihood), likelihood.new_empty(*likelihood.shape[:2], 1)
        rows = [x.unbind(0) for x in (alpha, likelihood, norm)]
        for t, (now, here, c) in enumerate(zip(*rows, strict=True)):
            if t:
                torch.mm(rows[0][t - 1], step, out=now)
                now.mul_(here)
            else:
                torch.mul(start, here, out=now)
            torch.sum(now, -1, keepdim=True, out=c)
            now.div_(c)
        ctx.save_for_backward(start, step, likelihood, alpha, norm)
        return norm.log().sum((0, 2)) + top.sum((0, 2))

    @staticmethod
    def backward(ctx, grad):
        start, step, likelihood, alpha, norm = ctx.saved_tensors
        K = len(start)
        arriving, beta = likelihood / norm, torch.empty_like(alpha)  # arriving becomes beta_t p_t / c_t
        beta[-1] = grad.unsqueeze(-1)
        turned, (rows, betas) = step.t(), (x.unbind(0) for x in (arriving, beta))
        for t in range(len(rows) - 1, 0, -1):
            rows[t].mul_(betas[t])
            torch.mm(rows[t], turned, out=betas[t - 1])
        arriving[0].mul_(beta[0])
        found = alpha[:-1].reshape(-1, K).t() @ arriving[1:].reshape(-1, K)
        return arriving[0].sum(0), found, beta.mul_(alpha)


class SymbolScores(torch.autograd.Function):
    """log softmax(table (K, V))[:, x (N)] as (N, K), zero where mask (N) is; only K normalisers are kept."""

    @staticmethod
    def forward(ctx, table, x, mask):
        normaliser = table.logsumexp(1)
        ctx.save_for_backward(table, normaliser, x, mask)
        return table.t().index_select(0, x).sub_(normaliser).mul_(mask.unsqueeze(1))

    @staticmethod
    def backward(ctx, grad):
        table, normaliser, x, mask = ctx.saved_tensors
        grad = grad * mask.unsqueeze(1)
        found = (table - normaliser.unsqueeze(1)).exp_().mul_(-grad.sum(0).unsqueeze(1))
        return found.index_add_(1, x, grad.t()), None, None


def chain_loss(params: dict[str, Tensor], x: Tensor, mask: Tensor) -> Tensor:
    """-Σ log p(x) of a categorical hidden Markov model."""
    B, T = x.shape
    scores = SymbolScores.apply(params["E"], x.t().reshape(-1), mask.t().reshape(-1)).view(T, B, -1)
    return -PlainChain.apply(params["pi"].softmax(-1), params["A"].softmax(-1), scores).sum()


def keys_loss(params: dict[str, Tensor], x: Tensor) -> Tensor:
    """-Σ log p(x) of keys that are up or down, the logits of each by the state and by what it was before: x (B, T, D)."""
    before, key = x[:, :-1, :, None].float(), params["key"].permute(1, 2, 0)  # (2, D, K)
    later = key[0] + before * (key[1] - key[0])
    logits = torch.cat([params["first"].t().expand(len(x), 1, -1, -1), later], 1)  # (B, T, D, K)
    scores = (x[..., None] * logits - torch.nn.functional.softplus(logits)).sum(2)
    return -PlainChain.apply(params["pi"].softmax(-1), params["A"].softmax(-1), scores.transpose(0, 1)).sum()


def autoregressive_loss(params: dict[str, Tensor], x: Tensor) -> Tensor:
    """-Σ log p(x) of symbols that depend on the state and on the symbol before: x (B, T), bigram (V, K, V)."""
    V = params["first"].shape[1]
    table = params["bigram"].log_softmax(-1).transpose(1, 2).reshape(V * V, -1)
    first = params["first"].log_softmax(-1).t()[x[:, :1]]
    later = torch.nn.functional.embedding(x[:, :-1] * V + x[:, 1:], table)
    scores = torch.cat([first, later], 1).transpose(0, 1)
    return -PlainChain.apply(params["pi"].softmax(-1), params["A"].softmax(-1), scores).sum()


def factorial_loss(params: dict[str, Tensor], x: Tensor) -> Tensor:
    """-Σ log p(x) of three chains whose means add up, unit scale, without the density's constant."""
    W = params["W"]
    K, D = W.shape[1:]
    means = (W[0][:, None, None] + W[1][None, :, None] + W[2]).reshape(-1, D)
    turned = x.transpose(0, 1)
    scores = turned @ means.t() - means.square().sum(1) * 0.5 - turned.square().sum(-1, keepdim=True) * 0.5
    start, step = params["pi"].softmax(-1), params["A"].softmax(-1)
    first = torch.kron(torch.kron(start[0], start[1]), start[2]).view(K * K, K)
    scores = scores.reshape(*scores.shape[:2], K * K, K)
    return -MatrixChain.apply(first, torch.kron(step[0], step[1]), step[2], scores).sum()
