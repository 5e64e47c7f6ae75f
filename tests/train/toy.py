"""Two small models written by hand after the module's contract, and specs to go with them.

They let the trainer be tested without the compiler.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace

import torch
from torch import nn

from lvspec.errors import Source
from lvspec.ir.dims import Dim
from lvspec.ir.plan import Cost
from lvspec.ir.spec import Clause, Plate, Size, Spec, Variable
from lvspec.ir.types import Support, Type


@dataclass
class Objective:
    loss: torch.Tensor
    log_prob: torch.Tensor | None = None
    elbo: torch.Tensor | None = None
    reconstruction: torch.Tensor | None = None
    kl: dict | None = None


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("step", torch.tensor(0))

    def prepare(self, batch):
        return {**batch, "t.mask": torch.arange(batch["x"].shape[1]) < batch["t"][:, None]}


class HMM(Toy):
    """z_t ~ Cat(A[z_{t-1}]), x_t ~ Cat(E[z_t]), by the forward algorithm in the log domain."""

    def __init__(self, V: int, K: int = 3):
        super().__init__()
        self.start = nn.Parameter(torch.randn(K))
        self.transition = nn.Parameter(torch.randn(K, K))
        self.emission = nn.Parameter(torch.randn(K, V))

    def factors(self, batch):
        emission = self.emission.log_softmax(-1).T[batch["x"]]
        return self.start.log_softmax(-1), self.transition.log_softmax(-1), emission

    def forward(self, batch, draws=None, phase=None):
        start, transition, emission = self.factors(batch)
        alpha = start + emission[:, 0]
        for t in range(1, emission.shape[1]):
            after = (alpha[:, :, None] + transition).logsumexp(1) + emission[:, t]
            alpha = torch.where(batch["t.mask"][:, t, None], after, alpha)
        log_prob = alpha.logsumexp(-1)
        return Objective(-log_prob.mean(), log_prob=log_prob)

    def log_prob(self, batch, samples=None):
        return self(batch).log_prob

    def posterior(self, batch):
        """Forward-backward by differentiating the log marginal at each site's factors."""
        with torch.enable_grad():
            start, transition, emission = (f.detach() for f in self.factors(batch))
            emission.requires_grad_()
            alpha = start + emission[:, 0]
            for t in range(1, emission.shape[1]):
                after = (alpha[:, :, None] + transition).logsumexp(1) + emission[:, t]
                alpha = torch.where(batch["t.mask"][:, t, None], after, alpha)
            (marginals,) = torch.autograd.grad(alpha.logsumexp(-1).sum(), emission)
        return {"z": SimpleNamespace(marginals=marginals, mode=marginals.argmax(-1))}


class BagVAE(Toy):
    """z ~ N(0, I); x_t ~ Cat(W z): a bag of words, with a sampled latent (so that random generators matter)."""

    def __init__(self, V: int, D: int = 4):
        super().__init__()
        self.words = nn.Linear(D, V)
        self.reader = nn.Embedding(V, 2 * D)

    def forward(self, batch, draws=None, phase=None):
        mask = batch["t.mask"]
        read = (self.reader(batch["x"]) * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        loc, log_scale = read.chunk(2, -1)
        z = loc + log_scale.exp() * torch.randn_like(loc)
        logits = self.words(z).log_softmax(-1)
        reconstruction = (logits.gather(1, batch["x"]) * mask).sum(1)
        kl = 0.5 * (loc**2 + (2 * log_scale).exp() - 1 - 2 * log_scale).sum(-1)
        elbo = reconstruction - kl
        return Objective(-elbo.mean(), elbo=elbo, reconstruction=reconstruction, kl={"z": kl})


def token_spec(name: str = "hmm", kind: str = "sequence", end: str | None = None, data=(), train=()) -> Spec:
    """`x[t]: Categorical` over vocabulary(x), one ragged plate, latent z of K states."""
    text = f"lvspec: 1\nname: {name}\n"
    x = Variable("x", "observed", ("t",), Type((), Support("integer", Dim.of("V")), ("t",)), (Clause(None),))
    z = Variable("z", "latent", ("t",), Type((), Support("integer", Dim.of("K")), ("t",)), (Clause(None),))
    sizes = (Size("K", "number", 3), Size("V", "vocabulary", 100, of="x"))
    return Spec(
        Source(f"{name}.yaml", text), name, name.title(), "", sizes, (Plate("t", kind, end=end),), (), (), (z, x), (),
        data=tuple(data), train=tuple(train),
    )  # fmt: skip


class Compiler:
    """Stands in for the driver: `compile_spec` hands back the same spec and a class written by hand."""

    def __init__(self, spec: Spec, model: type[nn.Module]):
        self.spec, self.model = spec, model

    def __call__(self, path, sizes=None, overrides=None, allow_modules=()):
        values = {**self.spec.nominal(), **(sizes or {})}
        spec = replace(self.spec, sizes=tuple(replace(s, value=values[s.name]) for s in self.spec.sizes))
        plan = SimpleNamespace(spec=spec, sampled=(), networks=(), guide=(), step=Cost(0.0, 0.0))
        source = "# stands in for emitted source\n"
        return SimpleNamespace(spec=spec, Model=self.model, source=source, plan=plan, symbols={})
