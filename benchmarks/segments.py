"""A hand-written reference for explicit-duration hidden Markov models, and the runtime's function on the same leaves.

Rescaled probabilities, with the scale of a site taken out of all segments that are still open there, and an explicit
backward pass. h_t(d, k) is the weight of segments of state k that are d + 1 sites long at t.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.measure import Step, reference_step
from lvspec.runtime.segments.segments import token_segmentation_sum


class ScaledSegments(torch.autograd.Function):
    """log Z (B,) from start (K), step (K, K), duration (D, K), probabilities all, and log-likelihoods (T, B, K)."""

    @staticmethod
    def forward(ctx, start, step, duration, log_likelihood):
        (T, B, K), D = log_likelihood.shape, len(duration)
        top = log_likelihood.amax(-1, keepdim=True)
        likelihood = (log_likelihood - top).exp_()
        open_, ends = likelihood.new_zeros(T, D, B, K), torch.empty_like(likelihood)
        begins, norm = torch.empty_like(likelihood), likelihood.new_empty(T, B, 1)
        begins[0], weights = start, duration.unsqueeze(1)
        rows = zip(*(x.unbind(0) for x in (open_, ends, begins, norm, likelihood)), strict=True)
        for t, (h, end, begin, c, here) in enumerate(rows):
            if t:
                torch.mul(open_[t - 1, :-1], here / norm[t - 1], out=h[1:])
                torch.mm(ends[t - 1], step, out=begin)
            torch.mul(begin, here, out=h[0])
            torch.sum(h * weights, 0, out=end)
            torch.sum(end, -1, keepdim=True, out=c)
            end.div_(c)
        ctx.save_for_backward(step, weights, likelihood, open_, ends, norm)
        return (norm.log() + top).sum((0, 2))

    @staticmethod
    def backward(ctx, grad):
        step, weights, likelihood, open_, ends, norm = ctx.saved_tensors
        T, D, B, K = open_.shape
        d_ends, d_open, d_begins = torch.empty_like(ends), torch.empty_like(open_), torch.empty_like(ends)
        passed = likelihood / norm.roll(1, 0)  # likelihood of a site by the scale of the one before it
        d_ends[-1] = 1.0 / norm[-1]
        back = step.t()
        for t in range(T - 1, -1, -1):
            if t < T - 1:
                torch.mm(d_begins[t + 1], back, out=d_ends[t]).div_(norm[t])
            torch.mul(weights, d_ends[t], out=d_open[t])
            if t < T - 1:
                d_open[t, :-1].addcmul_(d_open[t + 1, 1:], passed[t + 1])
            torch.mul(d_open[t, 0], likelihood[t], out=d_begins[t])
        grad = grad.unsqueeze(-1)
        d_duration = torch.einsum("tdbk,tbk->dk", open_, d_ends * grad)
        d_step = ends[:-1].reshape(-1, K).t() @ (d_begins[1:] * grad).reshape(-1, K)
        return (d_begins[0] * grad).sum(0), d_step, d_duration, d_open.mul_(open_).sum(1).mul_(grad)


def segments_loss(params: dict[str, Tensor]) -> Tensor:
    """-Σ log p of an explicit-duration model whose emission scores are leaves."""
    scores = (params["e"] - 2.0).transpose(0, 1).contiguous()
    duration = params["dur"].softmax(1).t().contiguous()
    return -ScaledSegments.apply(params["pi"].softmax(-1), params["A"].softmax(-1), duration, scores).sum()


def runtime_loss(params: dict[str, Tensor]) -> Tensor:
    """The same by the runtime's function."""
    start, step, duration = (params[n].log_softmax(-1) for n in ("pi", "A", "dur"))
    return -token_segmentation_sum(params["e"] - 2.0, duration, start, step).sum()


def segments_step(params: dict[str, Tensor]) -> Step:
    return reference_step(lambda: runtime_loss(params), params)
