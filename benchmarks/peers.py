"""Other packages' steps on the same workloads, each in the form that was quickest for it; a missing package is skipped.

pyro          TraceEnum_ELBO, emissions gathered before enumeration (a factor at each site), no validation
torch_struct  SentCFG
dynamax       hmm_filter under vmap, value_and_grad and jit
hmmlearn      CategoricalHMM.score: the value alone, in C++
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.measure import Step, reference_step
from benchmarks.trees import grammar_of
from benchmarks.workloads import Workload


def emissions(workload: Workload) -> torch.Tensor:
    """log p(x_t | z_t), (B, T, K), 0 beyond a length."""
    table = workload.params["E"].log_softmax(-1).t()
    return torch.nn.functional.embedding(workload.data["x"], table) * workload.data["mask"].unsqueeze(-1)


def enumerated(model: Callable[[], None], workload: Workload) -> Step:
    from pyro.infer import TraceEnum_ELBO

    elbo = TraceEnum_ELBO(max_plate_nesting=1)
    return reference_step(lambda: elbo.differentiable_loss(model, lambda: None), workload.params)


def pyro_chain(workload: Workload) -> Step:
    import pyro
    from pyro import distributions
    from pyro.ops.indexing import Vindex

    pyro.enable_validation(False)
    params, (B, T) = workload.params, workload.data["x"].shape

    def model():
        scores, rows, z = emissions(workload), torch.arange(B), None
        with pyro.plate("rows", B, dim=-1):
            for t in pyro.markov(range(T)):
                logits = params["pi"] if z is None else Vindex(params["A"])[z]
                z = pyro.sample(f"z{t}", distributions.Categorical(logits=logits), infer={"enumerate": "parallel"})
                pyro.factor(f"x{t}", Vindex(scores[:, t])[rows, z])

    return enumerated(model, workload)


def pyro_factorial(workload: Workload) -> Step:
    import pyro
    from pyro import distributions
    from pyro.ops.indexing import Vindex

    pyro.enable_validation(False)
    pi, A, W = (workload.params[n] for n in ("pi", "A", "W"))
    x, (L, K, D) = workload.data["x"], W.shape
    B, T = x.shape[:2]

    def model():
        means = (W[0][:, None, None] + W[1][None, :, None] + W[2]).reshape(-1, D)
        scores = x @ means.t() - means.square().sum(1) * 0.5 - x.square().sum(-1, keepdim=True) * 0.5
        scores, rows, z = scores.view(B, T, K, K, K), torch.arange(B), [None] * L
        with pyro.plate("rows", B, dim=-1):
            for t in pyro.markov(range(T)):
                for i in range(L):
                    logits = pi[i] if t == 0 else Vindex(A[i])[z[i]]
                    prior = distributions.Categorical(logits=logits)
                    z[i] = pyro.sample(f"z{i}_{t}", prior, infer={"enumerate": "parallel"})
                pyro.factor(f"x{t}", Vindex(scores[:, t])[rows, z[0], z[1], z[2]])

    return enumerated(model, workload)


def pyro_mixture_vae(workload: Workload) -> Step:
    """The cluster is summed by enumeration in the guide; Pyro has no closed KL of z beside it, so the divergence is drawn."""
    import pyro
    from pyro import distributions
    from pyro.infer import TraceEnum_ELBO
    from torch.nn import functional

    pyro.enable_validation(False)
    params, net, (x, lens, mask) = workload.params, workload.net, (workload.data[n] for n in ("x", "lens", "mask"))
    B, T = x.shape
    before = functional.pad(x[:, :-1], (1, 0), value=1)

    def model():
        with pyro.plate("rows", B, dim=-1):
            c = pyro.sample("c", distributions.Categorical(logits=params["prior"]))
            prior = distributions.Normal(params["centre"][c], functional.softplus(params["spread"])[c])
            z = pyro.sample("z", prior.to_event(1))
            read = torch.cat([net["emb"](before), z.unsqueeze(1).expand(-1, T, -1)], -1)
            hidden = net["dec"](read)[0]
            scores = -functional.cross_entropy(net["out"](hidden[mask]), x[mask], reduction="none")
            pyro.factor("x", scores.new_zeros(B, T).masked_scatter(mask, scores).sum(1))

    def guide():
        states = net["enc"](net["emb"](x))[0][torch.arange(B), lens - 1]
        with pyro.plate("rows", B, dim=-1):
            chosen = distributions.Categorical(logits=net["cluster"](states))
            pyro.sample("c", chosen, infer={"enumerate": "parallel"})
            loc, raw = net["code"](states).chunk(2, -1)
            pyro.sample("z", distributions.Normal(loc, functional.softplus(raw)).to_event(1))

    elbo = TraceEnum_ELBO(max_plate_nesting=1)
    return reference_step(lambda: elbo.differentiable_loss(model, guide), params)


def torch_struct_grammar(workload: Workload) -> Step:
    from torch_struct import SentCFG

    def loss():
        root, rules, words = grammar_of(workload.params)
        B, N = len(words), root.shape[-1]
        parts = (words, rules.expand(B, *rules.shape[1:]).contiguous(), root.expand(B, N).contiguous())
        return -SentCFG(parts).partition.sum()

    return reference_step(loss, workload.params)


def dynamax_chain(workload: Workload) -> Step:
    import jax
    import numpy
    from dynamax.hidden_markov_model import hmm_filter

    x, mask = (jax.numpy.asarray(workload.data[n].numpy()) for n in ("x", "mask"))
    params = {n: jax.numpy.asarray(p.detach().numpy()) for n, p in workload.params.items()}

    def loss(p):
        scores = jax.nn.log_softmax(p["E"], -1).T[x] * mask[..., None]
        start, step = jax.nn.softmax(p["pi"]), jax.nn.softmax(p["A"], -1)
        return -jax.vmap(lambda row: hmm_filter(start, step, row).marginal_loglik)(scores).sum()

    both = jax.jit(jax.value_and_grad(loss))

    def step():
        value, grads = jax.block_until_ready(both(params))
        return torch.tensor(float(value)), {n: torch.from_numpy(numpy.array(g)) for n, g in grads.items()}

    return step


def hmmlearn_chain(workload: Workload) -> Step:
    from hmmlearn.hmm import CategoricalHMM

    x, mask, lens = (workload.data[n] for n in ("x", "mask", "lens"))
    start, step, table = (workload.params[n].detach().double().softmax(-1).numpy() for n in ("pi", "A", "E"))
    model = CategoricalHMM(len(start), n_features=table.shape[1], init_params="", implementation="scaling")
    model.startprob_, model.transmat_, model.emissionprob_ = start, step, table
    model.n_features = table.shape[1]
    symbols, lengths = x[mask].unsqueeze(1).numpy(), lens.numpy()
    return lambda: (torch.tensor(-model.score(symbols, lengths)), {})


STEPS = {
    ("pyro", "W1"): pyro_chain,
    ("pyro", "W8"): pyro_factorial,
    ("pyro", "gm_vae"): pyro_mixture_vae,
    ("torch_struct", "W6"): torch_struct_grammar,
    ("dynamax", "W1"): dynamax_chain,
    ("hmmlearn", "W1"): hmmlearn_chain,
}
