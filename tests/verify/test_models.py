"""The oracle on hand-built models whose values are written out here in closed form."""

import torch

from lvspec.errors import Source
from lvspec.ir import types as T
from lvspec.ir.dims import Dim
from lvspec.ir.expr import Apply, Binding, Call, Dist, Here, Index, Lag, Number, ParamRef, Stretch, VariableRef
from lvspec.ir.spec import Clause, Network, Param, Plate, Spec, Variable
from lvspec.ir.types import Reach, Support, Type
from lvspec.verify.oracle.enumerate import elbo, log_marginal, posterior
from lvspec.verify.oracle.world import Instance

F = torch.float64
K, V = Dim.of("K"), Dim.of("V")
STATE, WORD = Type(support=Support("integer", K)), Type(support=Support("integer", V))


def spec(plates, params, networks, variables, guide=(), sizes=()):
    return Spec(Source("test", ""), "test", "Test", "", sizes, plates, params, networks, variables, guide)


def categorical(logits, type_=STATE):
    return Dist("Categorical", (("logits", logits),), type=type_)


def hmm():
    t = Plate("t", "sequence")
    z = Variable(
        "z",
        "latent",
        ("t",),
        STATE.with_(plates=("t",)),
        (
            Clause(categorical(ParamRef("start")), 0),
            Clause(categorical(Index(ParamRef("transition"), (VariableRef("z", (Lag("t", 1),)),)))),
        ),
        along="t",
    )
    word = categorical(Index(ParamRef("emission"), (VariableRef("z", (Here("t"),)),)), WORD)
    x = Variable("x", "observed", ("t",), WORD.with_(plates=("t",)), (Clause(word),))
    return spec((t,), (Param("start", (K,)), Param("transition", (K, K)), Param("emission", (K, V))), (), (z, x))


def hmm_instance(lengths=(4, 1, 0)):
    torch.manual_seed(1)
    weights = {n: torch.randn(s, dtype=F) for n, s in (("start", 3), ("transition", (3, 3)), ("emission", (3, 5)))}
    batch = {"x": torch.randint(5, (len(lengths), 4)), "t": torch.tensor(lengths)}
    return Instance(hmm(), {"K": 3, "V": 5}, weights, batch)


def forward_algorithm(instance, row):
    """log p(x) of one example, and the forward messages."""
    start, transition, emission = (
        torch.log_softmax(instance.weights[n], -1) for n in ("start", "transition", "emission")
    )
    x = instance.batch["x"][row, : instance.batch["t"][row]]
    message = start
    for i, word in enumerate(x):
        if i:
            message = torch.logsumexp(message[:, None] + transition, 0)
        message = message + emission[:, word]
    return torch.logsumexp(message, 0)


def test_hmm_marginal_is_that_of_the_forward_algorithm():
    instance = hmm_instance()
    for w in instance.weights.values():
        w.requires_grad_()
    found = log_marginal(instance)
    expected = torch.stack([forward_algorithm(instance, row) for row in range(3)])
    assert (found - expected).abs().max() < 1e-12
    weights = list(instance.weights.values())
    for a, b in zip(
        torch.autograd.grad(found.sum(), weights), torch.autograd.grad(expected.sum(), weights), strict=True
    ):
        assert (a - b).abs().max() < 1e-12


def test_hmm_of_length_zero_has_probability_one():
    assert float(log_marginal(hmm_instance())[2]) == 0.0


def test_hmm_posterior_marginals_are_derivatives_of_the_normaliser():
    instance = hmm_instance((3,))
    tilt = torch.zeros(3, 3, dtype=F, requires_grad=True)
    start, transition, emission = (
        torch.log_softmax(instance.weights[n], -1) for n in ("start", "transition", "emission")
    )
    message = start + emission[:, instance.batch["x"][0, 0]] + tilt[0]
    for i in (1, 2):
        message = torch.logsumexp(message[:, None] + transition, 0) + emission[:, instance.batch["x"][0, i]] + tilt[i]
    expected = torch.autograd.grad(torch.logsumexp(message, 0), tilt)[0]
    found = posterior(instance, 0)
    for i in range(3):
        assert (found.marginal(("z", (i,)), 3) - expected[i]).abs().max() < 1e-12
    assert len(found.rows) == 27 and abs(found.probabilities().sum() - 1) < 1e-12


def test_partially_observed_latent_is_summed_only_where_it_is_hidden():
    instance = hmm_instance((3,))
    instance.batch["z"] = torch.tensor([[2, 0, 0, 0]])
    instance.batch["z_observed"] = torch.tensor([[True, False, False, True]])
    everything = hmm_instance((3,))
    clamped = [
        w
        for w, row in zip(posterior(everything, 0).log_weights, posterior(everything, 0).rows, strict=True)
        if row[0] == 2
    ]
    assert abs(log_marginal(instance)[0] - torch.logsumexp(torch.stack(clamped), 0)) < 1e-12


def naive_bayes(guide=()):
    t = Plate("t", "bag")
    z = Variable("z", "latent", (), STATE, (Clause(categorical(ParamRef("prior"))),))
    word = categorical(Index(ParamRef("words"), (VariableRef("z"),)), WORD)
    x = Variable("x", "observed", ("t",), WORD.with_(plates=("t",)), (Clause(word),))
    return spec((t,), (Param("prior", (K,)), Param("words", (K, V))), (), (z, x), guide)


def naive_bayes_instance(treatments, guide=(), draws=None):
    torch.manual_seed(2)
    weights = {"prior": torch.randn(3, dtype=F), "words": torch.randn(3, 5, dtype=F), "q": torch.randn(3, dtype=F)}
    batch = {"x": torch.randint(5, (2, 4)), "t": torch.tensor([4, 2])}
    return Instance(naive_bayes(guide), {"K": 3, "V": 5}, weights, batch, treatments, guide, (), draws or {})


def naive_bayes_joint(instance, row):
    x = instance.batch["x"][row, : instance.batch["t"][row]]
    words = torch.log_softmax(instance.weights["words"], -1)
    return torch.log_softmax(instance.weights["prior"], -1) + words[:, x].sum(1)


Q = (Variable("z", "guide", (), STATE, (Clause(categorical(ParamRef("q"))),)),)


def test_naive_bayes_marginal_sums_over_clusters():
    instance = naive_bayes_instance({})
    for row in range(2):
        expected = torch.logsumexp(naive_bayes_joint(instance, row), 0)
        assert abs(log_marginal(instance)[row] - expected) < 1e-12


def test_elbo_of_an_enumerated_latent_is_the_exact_expectation():
    instance = naive_bayes_instance({"z": "enumerated"}, Q)
    log_q = torch.log_softmax(instance.weights["q"], -1)
    found = elbo(instance, 0, 1, frozenset())
    assert abs(found.elbo - (log_q.exp() * (naive_bayes_joint(instance, 0) - log_q)).sum()) < 1e-12
    prior = torch.log_softmax(instance.weights["prior"], -1)
    assert abs(found.kl["z"] - (log_q.exp() * (log_q - prior)).sum()) < 1e-12


def test_elbo_of_a_sampled_discrete_latent_is_the_mean_over_its_draws():
    draws = {"z": torch.tensor([[0, 1], [2, 1]])}
    instance = naive_bayes_instance({"z": "sampled"}, Q, draws)
    terms = naive_bayes_joint(instance, 0) - torch.log_softmax(instance.weights["q"], -1)
    assert abs(elbo(instance, 0, 2, frozenset()).elbo - (terms[0] + terms[2]) / 2) < 1e-12


def gaussian_autoencoder():
    """x[t] ~ N(f(z), 1); z ~ N(0, 1)[2]; q(z | x) = N(loc, softplus(scale)) from an LSTM's last state."""
    d = Dim.of(2)
    real = Type((d,))
    t = Plate("t", "sequence")
    z = Variable("z", "latent", (), real, (Clause(Dist("Normal", (("loc", Number(0)), ("scale", Number(1))), (d,))),))
    mean = Apply("decoder", (), (VariableRef("z", type=real),), type=real)
    x = Variable(
        "x",
        "observed",
        ("t",),
        real.with_(plates=("t",)),
        (Clause(Dist("Normal", (("loc", mean), ("scale", Number(1))))),),
    )
    whole = Type((d,), reach=Reach("t", "whole"))
    states = Apply("reader", (), (VariableRef("x", (Stretch("t", "whole"),), type=whole),), type=whole)
    summary = Call("last", (states,), type=real)
    halves = Binding(("loc", "scale"), Call("split", (Apply("head", (), (summary,), type=Type((Dim.of(4),))),)))
    from lvspec.ir.expr import LocalRef

    scale = Call("softplus", (LocalRef("scale"),), type=real.with_(support=T.POSITIVE))
    q = Dist("Normal", (("loc", LocalRef("loc")), ("scale", scale)))
    guide = (Variable("z", "guide", (), real, (Clause(q, bindings=(halves,)),)),)
    networks = (
        Network("decoder", "Linear", (d, d)),
        Network("reader", "LSTM", (d, d)),
        Network("head", "Linear", (d, Dim.of(4))),
    )
    return spec((t,), (), networks, (z, x), guide), guide, networks


def test_gaussian_autoencoder_at_fixed_noise_equals_torch():
    torch.manual_seed(3)
    model, guide, networks = gaussian_autoencoder()
    reader = torch.nn.LSTM(2, 2, batch_first=True, dtype=F)
    head, decoder = torch.nn.Linear(2, 4, dtype=F), torch.nn.Linear(2, 2, dtype=F)
    weights = {
        f"{n}.{k}": p
        for n, m in (("reader", reader), ("head", head), ("decoder", decoder))
        for k, p in m.named_parameters()
    }
    batch = {"x": torch.randn(1, 3, 2, dtype=F), "t": torch.tensor([3])}
    noise = torch.randn(2, 1, 2, dtype=F)
    instance = Instance(model, {}, weights, batch, {"z": "sampled"}, guide, networks, {"z": noise}, frozenset({"z"}))
    loc, raw = head(reader(batch["x"])[0][0, -1]).chunk(2)
    q = torch.distributions.Normal(loc, torch.nn.functional.softplus(raw))
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum()
    likelihoods = [
        torch.distributions.Normal(decoder(q.loc + q.scale * noise[s, 0]), 1.0).log_prob(batch["x"][0]).sum()
        for s in (0, 1)
    ]
    expected = torch.stack(likelihoods).mean() - kl
    found = elbo(instance, 0, 2, frozenset({"z"}))
    assert abs(found.elbo - expected) < 1e-12 and abs(found.kl["z"] - kl) < 1e-12
    for a, b in zip(*(torch.autograd.grad(v, list(weights.values())) for v in (found.elbo, expected)), strict=True):
        assert (a - b).abs().max() < 1e-12
