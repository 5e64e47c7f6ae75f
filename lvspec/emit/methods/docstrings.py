"""What the docstrings of the inference methods say: densities by the model's own names, and what is conditioned on what."""

from __future__ import annotations

from collections.abc import Sequence

from lvspec.emit.factors.integrals import asks
from lvspec.emit.methods.schedules import following
from lvspec.emit.text.text import BODY, docstring, filled
from lvspec.ir.decodable import Decodable
from lvspec.ir.plan import Plan
from lvspec.ir.spec import Schedule
from lvspec.ir.structures import STRUCTURES
from lvspec.ir.words import listed

GRAPH_WITHIN = "All draws are made at once, and their graph stands until the marginals, its gradients, are found."
GRAPH = "All draws are made at once, and their graph is kept unless this is called under `torch.no_grad()`."
DRAWS = (
    "`draws`: by latent, its noise where it is reparameterized and else its values, (S, B, ...), in place of new ones."
)
ESTIMATED = "by importance sampling: below it in expectation, consistent in S."
SEMIRING = (
    "`semiring` is the sum over latents: LOG, log Σ exp, its gradient the marginals; MAX, the maximum, its gradient the "
    "mode; SAMPLE, log Σ exp, its gradient a draw from the posterior."
)


def described(*paragraphs: str) -> list[str]:
    """A method's docstring: the first paragraph by itself, each further one from a line of its own on."""
    first, *rest = [p for p in paragraphs if p]
    if not rest:
        return docstring(first, 2)
    return [*filled(f'"""{first}', BODY), "", *(line for row in rest for line in filled(row, BODY)), f'{BODY}"""']


def sentences(*parts: str) -> str:
    return " ".join(p for p in parts if p)


def _known(plan: Plan) -> str:
    """What log p of an example is where its batch says more than what is observed."""
    found = plan.notation.evidence_with_known
    return f"Where the batch holds values of {listed(plan.notation.known, ' or ')}, it is {found}." if found else ""


# ---------------------------------------------------------------- the objective
def marginal_doc(plan: Plan, tilted: str = "") -> list[str]:
    """tilted: a latent that a tilt may be of, of which the formula is written."""
    notation = plan.notation
    if not tilted:
        return described(f"{notation.evidence}, (B,), of a prepared batch.")
    latent = plan.spec.variable(tilted)
    sites, value = ", ".join(latent.plates), latent.at(latent.plates)
    of = f"{sites}, " if sites else ""
    total = f"Σ_{sites if len(latent.plates) == 1 else f'{{{sites}}}'} " if sites else ""
    axes = ", ".join(["B", *(p.upper() for p in latent.plates), str(latent.type.support.values)])
    joint = notation.p([*notation.names("observed"), tilted])
    at = notation.posterior([tilted]).replace(tilted, f"{value} = k", 1)
    return described(
        f"{notation.evidence}, (B,), of a prepared batch.",
        f'With θ = `tilt["{tilted}"]`, ({axes}), it is log Σ_{tilted} {joint} exp({total}θ[{of}{value}]), whose gradient in '
        f"θ[{of}k] at θ = 0 is {at}; a known value has θ = 0, and all others -inf.",
        SEMIRING,
    )


def exact_forward_doc(plan: Plan) -> list[str]:
    loss = f"An `Objective`: `log_prob`, (B,), {plan.notation.evidence}; {_exact_loss(plan)}"
    return described(loss, _known(plan))


def _exact_loss(plan: Plan) -> str:
    mean = "minus the mean of it and the terms of `objective:`" if plan.spec.terms else "minus its mean"
    return f"`loss`, {mean} over the batch, weighted by `weight`{_prior(plan)}."


def _prior(plan: Plan) -> str:
    return ", and minus an example's part of `log_prior`" if plan.spec.priors else ""


def log_prob_doc(plan: Plan) -> list[str]:
    return described(f"{plan.notation.evidence}, (B,), exact.", _known(plan))


def bound_doc(plan: Plan, at: str = "", draws: bool = False) -> list[str]:
    """Of a method that gives the objective. draws: whether it takes them."""
    followed = following(plan)
    step = f"{followed}, which `model.step += 1` advances after each update." if followed else ""
    return described(f"{plan.formula}{at}", _objective(plan), step, DRAWS if draws else "")


def joint_doc(plan: Plan) -> list[str]:
    """Of `forward` at point estimates."""
    return described(plan.formula, f"An `Objective`: `log_joint`, (B,); {_exact_loss(plan)}")


def _objective(plan: Plan) -> str:
    changes = [
        *(["KL weights"] if any(s != Schedule("constant", (1.0,)) for _, s in plan.spec.kl_weight) else []),
        *(["free bits"] if plan.spec.free_bits else []),
        *(["the terms of `objective:`"] if plan.spec.terms else []),
    ]
    changed = "" if plan.coupled else listed(changes, " and ")
    without, also = (f" without {changed},", f" with {changed}") if changed else ("", "")
    bound = "the bound" if plan.coupled else f"the ELBO{also}"
    return (
        f"An `Objective`: `elbo`, (B,),{without} with its parts `reconstruction` and `kl[name]`; `loss`, to be minimised: "
        f"minus the mean of {bound} over the batch, weighted by `weight`{_prior(plan)}."
    )


# ---------------------------------------------------------------- by importance weights
def log_weight(plan: Plan) -> str:
    """`log p(x, z) - log q(z | x)`, z the latents that are drawn; what examples share has a weight of its own."""
    notation, shared = plan.notation, plan.drawn_once
    names = {*plan.sampled, *plan.drawn_in_weights, *plan.mean_field, *plan.structured} - {*shared}
    drawn = [p.name for p in plan.latents if p.name in names]
    log_p = f"log {notation.p([*notation.names('observed'), *drawn], shared)}"
    return f"{log_p} - log {_q(plan, drawn)} at draws of q" if drawn else f"{log_p} at draws of q"


def _q(plan: Plan, names: Sequence[str]) -> str:
    if plan.mean_field or plan.structured:
        return listed([f"q({n})" for n in names], " ")
    return plan.notation.q(names, bool(plan.refined))


def importance_doc(plan: Plan) -> list[str]:
    found = f"{plan.notation.evidence} ≈ log 1/S Σ_s w_s with the weights of `log_weights`"
    return described(f"{found}, its standard error and the effective sample size.")


def importance_log_prob_doc(plan: Plan) -> list[str]:
    if plan.drawn_once:
        return described(f"log p of a batch that is the whole data set, (), {ESTIMATED}", GRAPH)
    return described(f"{plan.notation.evidence}, (B,), {ESTIMATED}", _known(plan), GRAPH)


def weighted_posterior_doc(plan: Plan) -> list[str]:
    """Of a model with draws: what they answer, and what is summed beside them."""
    notation, names = plan.notation, {*plan.sampled, *plan.drawn_in_weights}
    drawn = [p.name for p in plan.latents if p.name in names]
    whole = ", of a batch that is the whole data set" if plan.drawn_once else ""
    rows = [f"{notation.posterior(drawn)}{whole}, by draws of q with self-normalised importance weights."]
    exact = [*plan.summed_beside_draws, *(n for i in plan.integrations for n in i.latents)]
    if exact:
        given = notation.p(exact, [*notation.names("observed"), *drawn])
        rows.append(f"{notation.posterior(exact)}: {given}, exact, averaged over the weighted draws.")
    return described(*rows, GRAPH_WITHIN if asks(plan) else GRAPH)


# ---------------------------------------------------------------- other posteriors, encodings, draws
def posterior_doc(plan: Plan) -> list[str]:
    """Of a model without draws."""
    finite = [n for n in plan.summed if plan.spec.variable(n).type.support.finite]
    integrated = [n for i in plan.integrations for n in i.latents]
    parts, rows = [s.part for s in plan.structures if s.part], []
    for names, found in ((finite, "marginals"), (integrated, "moments"), (parts, "marginals")):
        if names:
            answers = f"{found} of each, joint mode" if len(names) > 1 else f"{found}, mode"
            rows.append(f"{plan.notation.posterior(names)}, exact: {answers}, samples and entropy.")
    return described(*rows)


def mean_field_posterior_doc(plan: Plan) -> list[str]:
    """q, and what is summed under it."""
    factors, summed = list(plan.mean_field), list(plan.summed)
    posterior = plan.notation.posterior([*factors, *summed])
    rows = [f"{_q(plan, factors)} at its optimum, in place of {posterior}: mean, variance and entropy of each factor."]
    if summed:
        rows.append(f"{_q(plan, summed)}, given these factors: marginals, joint mode, samples and entropy.")
    return described(*rows)


def encode_doc(plan: Plan, names: list[str], labelled: list[str]) -> list[str]:
    """labelled: of these, whole labellings."""

    def q(names: list[str]) -> str:
        return listed([plan.notation.q([n], n in plan.refined) for n in names])

    known = [n for n in names if n in plan.notation.known]
    said = [f"The guide's {q(names)}, by latent: arguments, draws and log-density."] if names else []
    said += [f"Values of {listed(known)} that the batch holds are not looked at."] if known else []
    of_labels = f"{q(labelled)}, given the labels that the batch holds: marginals, mode, entropy, draws."
    said += [of_labels if names else f"The guide's {of_labels}"] if labelled else []
    return described(sentences(*said))


def _in_place_of_draws(plan: Plan) -> str:
    """What `given` does, and what it does not."""
    notation = plan.notation
    observed = notation.names("observed")
    above = notation.above(observed)
    if not above:
        return "`given`: values in place of draws, which condition what depends on them and nothing else."
    return (
        f"`given`: values in place of draws. What they depend on is not conditioned on them: with {listed(observed)} given, "
        f"{listed(above)} {'are' if len(above) > 1 else 'is'} drawn from the prior all the same, and not from "
        f"{notation.posterior(above)}, which is what `posterior` answers."
    )


def above_doc(plan: Plan, found: Decodable) -> list[str]:
    """Of what the sites of a plate that is decoded have in common."""
    drawn = f", {listed(list(found.above))} drawn by `draw` among it" if found.above else ""
    return described(
        f"The batch with what all sites of {found.plate} read{drawn}, and with what stands before the first one."
    )


def at_site_doc(plan: Plan, found: Decodable) -> list[str]:
    sites = listed([f"{n}[{found.plate}]" for n in found.along])
    return described(
        f"Site {found.plate}: `draw(name, distribution)` says what {sites} {'are' if len(found.along) > 1 else 'is'}. The batch with what "
        "the next site reads, every tensor with the rows first."
    )


def decode_doc(plan: Plan, found: Decodable, summed: tuple[str, ...]) -> list[str]:
    symbol, plate = found.symbol, found.plate
    rows = [
        f"Strings {symbol} for n rows, by p({symbol}[{plate}] | {symbol}[<{plate}]{_conditions(plan)}), one symbol after the other."
    ]
    if summed:
        rows[0] = f"{rows[0][:-1]}; {listed(summed)} {'are' if len(summed) > 1 else 'is'} summed out."
    rows.append(
        "`given`, `lengths`: as of `sample`, but what is given is conditioned on. `how`: `end`, the end symbol, and what else the "
        "function `decode` takes: `method` (greedy, beam or sample) and the options of each."
    )
    return described(*rows)


def _conditions(plan: Plan) -> str:
    given = plan.notation.names("given")
    return f", {', '.join(given)}" if given else ""


def sample_doc(plan: Plan, names: list[str], ends: bool) -> list[str]:
    """names: what is drawn."""
    ragged = [p.name for p in plan.spec.plates if p.ragged]
    rows = [
        f"n ancestral draws of {listed(names)}, parents first.",
        _in_place_of_draws(plan),
    ]
    if ragged:
        rows.append(
            f"`lengths`: numbers of sites, by plate ({', '.join(ragged)}): (n,), or one for all; they are fixed, not drawn. "
            "By default those of what is given, else 64."
        )
    if any(STRUCTURES[s.family].value == "yield" for s in plan.structures):
        rows.append(
            "What a structure generates is drawn given its length; latents that it depends on come from their prior, whatever the length."
        )
    if ends:
        rows.append(
            "`ends`: end symbols, by plate. A length counts up to the first one; what is drawn behind it is padding."
        )
    return described(*rows)
