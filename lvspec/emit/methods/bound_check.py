"""`lvspec compile --self-check` of a model with a guide: its objective's terms and importance weights, by definition, at given draws.

Example by example and site by site, in torch.distributions: log p of what is observed, each KL(q ‖ p), the ELBO, and
log p(x, z) - log q(z | x). What is summed under q is gone through value by value. Of the runtime the networks alone take part.
"""

from __future__ import annotations

import re
from math import prod

from lvspec.emit.lowering.one_example import OneExample, Unwritten
from lvspec.emit.methods.written_structures import WRITTEN
from lvspec.emit.objective.loss import of_data
from lvspec.emit.text.text import docstring, wrap
from lvspec.ir.dims import Dim, ragged_plate
from lvspec.ir.distributions import FAMILIES
from lvspec.ir.expr import Dist, VariableRef, walk
from lvspec.ir.plan import LatentPlan, Plan
from lvspec.ir.spec import Clause, Variable

LENGTHS, MOST = (3, 2), 300  # sites of the two examples; how many values may be gone through

# families that torch.distributions has under these names and arguments; pairs of the former have their KL there
DIVERGENT = ("Categorical", "Bernoulli", "Normal", "Laplace", "Exponential", "Gamma", "Beta", "Poisson", "Dirichlet")
PLAIN = (*DIVERGENT, "LogNormal", "StudentT", "HalfNormal", "Weibull", "Binomial", "Geometric", "MultivariateNormal")
IN_ORDER = ("Normal", "Laplace", "LogNormal")  # loc, scale: written without their names

# what the text calls by these names, inside its functions and around them
CALLED = {"model", "v", "td", "torch", "softplus", "range", "len", *WRITTEN}
AROUND = {
    "at", "b", "batch", "divergence", "drawn", "expected", "found", "given", "guide", "joint", "log_density", "log_p", "log_q",
    "log_weight", "name", "noise", "p", "product", "q", "s", "share", "step", "story", "sum", "zip",
}  # fmt: skip


def bound_check_lines(plan: Plan, imports: set[str], numbers: dict[str, int], given: dict[str, str]) -> list[str]:
    """The lines behind the class. numbers: small sizes; given: made-up values, as Python. `Unwritten` where it is not written out."""
    return BoundCheck(plan, imports, numbers, given).lines()


def refused(plan: Plan) -> str:
    """Why the objective's terms are not compared, or nothing."""
    spec = plan.spec
    if plan.objective != "elbo" or plan.mean_field or plan.structured:
        return "it has no guide whose draws and values could be gone through"
    if plan.coupled:
        return "its objective is a bound of several draws"
    if own := next((p.name for p in spec.params if p.per_example), None):
        return f"each example of the data has {own} of its own"
    for p in plan.latents:
        latent = spec.variable(p.name)
        if not p.treated.guided:
            return f"{p.name} is {p.treatment} inside the expectation"
        if p.name in (*plan.drawn_in_weights, *plan.shared, *plan.refined, *plan.relaxed) or p.row.shares:
            return f"q({p.name}) is more than a distribution of each example"
        if p.guide == "own":
            return f"{p.name} has no q of its own"
        if p.treated.averaged and (not latent.type.support.finite or latent.type.shape):
            return f"the values of {p.name} are not few"
        if len(latent.type.shape) > 1:
            return f"{p.name} is a matrix"
    if not spec.of_role("observed"):
        return "nothing is observed"
    if plan.integrations or plan.unrolled:
        return "latents are integrated out, or written out site by site"
    return ""


class BoundCheck:
    """The text of one model's check."""

    def __init__(self, plan: Plan, imports: set[str], numbers: dict[str, int], given: dict[str, str]):
        self.plan, self.imports, self.numbers, self.given = plan, imports, numbers, given
        spec = plan.spec
        self.summed = [spec.variable(p.name) for p in plan.latents if p.treated.averaged]
        self.drawn = [spec.variable(p.name) for p in plan.latents if p.treated.drawn]
        self.noisy = [
            v for v in self.drawn if self._factor(v).general.dist.family == "Normal" and self._latent(v).noisy
        ]
        if (count := prod(self._count(v) for v in self.summed)) > MOST:
            raise Unwritten(f"{count:,} assignments of a tiny batch are too many to go through")
        names = {v.name for v in (*spec.variables, *plan.guide)} | {n for p in spec.plates for n in (p.name, p.sites)}
        names |= {n for v in (*spec.variables, *plan.guide) for c in v.clauses for b in c.bindings for n in b.names}
        if taken := sorted(names & CALLED | {v.name for v in self.summed} & AROUND):
            raise Unwritten(f"{taken[0]} is a name that the check has for something else")

    def lines(self) -> list[str]:
        spec, plan = self.plan.spec, self.plan
        observed = [v.name for v in spec.of_role("observed")]
        factors = [*spec.of_role("latent"), *spec.of_role("observed")]
        story = self._function(
            "story", "p of each variable at the values of one example: a distribution for each site.", factors
        )
        guide = self._function("guide", "q of each latent, likewise.", [v for v in plan.guide if v.role == "guide"])
        structures = [line for s in plan.structures for line in WRITTEN[s.family]]
        exact = any(p.kl == "analytic" and p.treated.drawn for p in plan.latents)
        loops = bool(self.drawn)
        return [
            'if __name__ == "__main__":',
            *(["    from itertools import product", ""] if loops or any(v.plates for v in self.summed) else []),
            "    from torch import distributions as td",
            "",
            *structures,
            *story,
            "",
            *guide,
            "",
            "    def log_density(sites: list, values: torch.Tensor) -> torch.Tensor:",
            "        values = values.double().reshape(len(sites), -1)",
            "        return sum(site.log_prob(value).sum() for site, value in zip(sites, values, strict=True))",
            "",
            *(DIVERGENCE if exact else []),
            f"    # the terms of the ELBO{' and the importance weights, at the same draws' if loops else ' and log p'}, by their definition",
            "    torch.set_default_dtype(torch.float64)",
            "    torch.set_grad_enabled(False)",
            "    torch.manual_seed(0)",
            *wrap(f"model = {{class}}({_entries(self._sizes(), '{}={}')}).eval()", 1),
            *self._batch(observed),
            *self._found(),
            *self._expected(observed),
            "    for name in found:",
            '        print(f"{name}: off by {(found[name] - expected[name]).abs().max():.1e}")',
            "    if not all(torch.allclose(found[name], expected[name]) for name in found):",
            '        raise SystemExit("they differ")',
            '    print("they agree")',
        ]

    # ------------------------------------------------------------ the story and the guide
    def _function(self, name: str, about: str, factors: list[Variable]) -> list[str]:
        """`def story(model, v)`: the distributions of these variables, and before them what they read."""
        lets = self._lets(factors)
        one = OneExample(self.plan, self.imports, {})
        statements, rows = [], []
        for let in lets:
            statements.append((let.name, f"{let.name} = {one.computed(let)}"))
        for factor in factors:
            named = [c for c in factor.clauses if not factor.plates]
            for clause in named:
                statements += [("", s) for s in self._bindings(one, clause)]
            codes = [(c, self._distribution(one, c, bound=not factor.plates)) for c in factor.clauses]
            whole = isinstance(factor.general.body, Dist) and factor.general.body.over is not None
            code = one.chosen(factor, codes)
            rows.append(f'"{factor.name}": ' + (f"[{code}]" if whole else one.sites(factor, code)))
        text = "\n".join([*(s for _, s in statements), *rows])
        read = [v for role in ("latent", "given", "observed") for v in self.plan.spec.of_role(role)]
        words = _words(text)
        shifted = [one.begin(n) for n in one.begins]
        unpacked = [v.name for v in read if v.name in words or v.name in one.begins]
        names, values = ", ".join(unpacked), ", ".join(f'v["{n}"]' for n in unpacked)
        return [
            f"    def {name}(model: {{class}}, v: dict) -> dict:",
            *docstring(about, 2),
            *(wrap(f"{names} = {values}", 2) if unpacked else []),
            *(line for s in shifted for line in wrap(s, 2)),
            *(line for _, s in statements for line in wrap(s, 2)),
            *wrap(f"return {{{', '.join(rows)}}}", 2),
        ]

    def _lets(self, factors: list[Variable]) -> list[Variable]:
        """What is computed on the way, in its order."""
        spec = self.plan.spec
        lets = {v.name: v for v in (*spec.of_role("let"), *self.plan.guide) if v.role == "let"}
        needed, waiting = set[str](), list(factors)
        while waiting:
            for name in _reads(waiting.pop()) & lets.keys() - needed:
                needed.add(name)
                waiting.append(lets[name])
        return [v for n, v in lets.items() if n in needed]

    def _bindings(self, one: OneExample, clause: Clause) -> list[str]:
        """`loc, scale = encoder(state).chunk(2, -1)`."""
        rows = []
        for binding in clause.bindings:
            parts = len(binding.names) > 1
            code = one.split(binding) if parts else one.code(binding.value)
            rows.append(f"{', '.join(binding.names)} = {code}")
        return rows

    def _distribution(self, one: OneExample, clause: Clause, bound: bool) -> str:
        """The clause's distribution. bound: whether statements name what its `where` binds."""
        dist = clause.body
        if not isinstance(dist, Dist) or dist.base is not None or dist.parts and dist.family not in WRITTEN:
            raise Unwritten("a choice between distributions, or one through a flow, is not written out")
        inside = one if bound else OneExample(one.plan, one.imports, one.begins, clause.bindings)
        if dist.family in WRITTEN:
            return f"{dist.family}({', '.join(inside.code(e) for _, e in dist.arguments)})"
        if dist.family not in PLAIN or dist.over is not None:
            raise Unwritten(f"{dist.family} is not written out in torch.distributions")
        arguments = [inside.code(e) for _, e in dist.arguments]
        if dist.family not in IN_ORDER:
            arguments = [f"{n}={code}" for (n, _), code in zip(dist.arguments, arguments, strict=True)]
        code = f"td.{dist.family}({', '.join(arguments)})"
        scalars = FAMILIES[dist.family].event == "scalar" and all(not e.type.shape for _, e in dist.arguments)
        if scalars and dist.type.shape:
            code += f".expand(({', '.join(inside.size(d) for d in dist.type.shape)},))"
        return code

    # ------------------------------------------------------------ what the module says
    def _sizes(self) -> dict[str, int]:
        spec = self.plan.spec
        return {s.name: self.numbers[s.name] for s in spec.sizes} | of_data(spec)

    def _batch(self, observed: list[str]) -> list[str]:
        spec = self.plan.spec
        ragged = [p.name for p in spec.plates if p.ragged]
        lengths = _entries({p: f"torch.tensor({list(LENGTHS)})" for p in ragged})
        by_place = "" if self.given else "lengths="
        sampled = f"{by_place}{{{lengths}}}" if ragged else ""
        rows = wrap(f"given = {{{_entries(self.given)}}}", 1) if self.given else []
        arguments = ", ".join(filter(None, ["2", "given" if self.given else "", sampled]))
        kept = ", ".join(f'"{n}"' for n in [*observed, *ragged]) + "," * (len(observed) + len(ragged) == 1)
        return [
            *rows,
            *wrap(f"batch = model.sample({arguments})", 1),
            *wrap(f"batch = {'given | ' if self.given else ''}{{name: batch[name] for name in ({kept})}}", 1),
        ]

    def _found(self) -> list[str]:
        """The module's answers, by name."""
        rows = {"reconstruction": "step.reconstruction"}
        rows |= {f"KL of {p.name}": f'step.kl["{p.name}"]' for p in self.plan.latents}
        rows["ELBO"] = "step.elbo"
        if self._plain_loss():
            rows["loss"] = "step.loss"
        asked = []
        if self.drawn:
            noise = _entries({v.name: f"torch.randn({self._noise_shape(v)})" for v in self.noisy})
            values = _entries({v.name: f'drawn["{v.name}"]' for v in self.drawn if not self._latent(v).noisy})
            fixed = [*(["noise"] if noise else []), *([f"{{{values}}}"] if values else [])]
            others = any(self._latent(v).noisy and v not in self.noisy for v in self.drawn)
            asked += [f"noise = {{{noise}}}"] if noise else []
            asked += ["torch.manual_seed(1)"] if others else []
            weights = f"model.log_weights(model.prepare(batch), model.samples{', noise' if noise else ''})"
            asked.append(f"log_weight, drawn = {weights}")
            asked += ["torch.manual_seed(1)  # the same draws once more"] if others else []
            asked.append(f"step = model(batch{', ' * bool(fixed)}{' | '.join(fixed)})")
            rows |= {f"draws of {v.name}": f'drawn["{v.name}"]' for v in self.noisy if not v.plates}
            rows["log weights"] = "log_weight"
        else:
            asked.append("step = model(batch)")
            rows["log p"] = "model.log_prob(batch)"
        return [
            *(line for s in asked for line in wrap(s, 1)),
            *wrap(f"found = {{{_entries(rows)}}}", 1),
            "    expected = {name: torch.zeros_like(value) for name, value in found.items()}",
        ]

    def _noise_shape(self, latent: Variable) -> str:
        shape = ["model.samples", "2"]
        for plate in latent.plates:
            size = self.plan.spec.plate(plate).size
            shape.append(str(LENGTHS[0]) if size is None else self._size(size))
        return ", ".join([*shape, *(self._size(d) for d in latent.type.shape)])

    def _size(self, size: Dim) -> str:
        return OneExample(self.plan, self.imports, {}).size(size)

    def _plain_loss(self) -> bool:
        """Whether the loss in evaluation is the mean of -ELBO."""
        plain = all(s.end == 1 for _, s in self.plan.spec.kl_weight)
        return plain and not self.plan.spec.free_bits and not self.plan.spec.terms

    # ------------------------------------------------------------ the same by definition
    def _expected(self, observed: list[str]) -> list[str]:
        depth = 2
        head = "    for s, b in product(range(model.samples), range(2)):" if self.drawn else "    for b in range(2):"
        values = {
            v.name: self._own_sites(v, f'batch["{v.name}"][b')
            for r in ("given", "observed")
            for v in self.plan.spec.of_role(r)
        }
        values |= {v.name: self._own_sites(v, f'drawn["{v.name}"][s, b') for v in self.drawn}
        rows = [head, *wrap(f"v = {{{_entries(values)}}}", depth)]
        at = "v"
        if self.summed:
            rows.append("        joint = []")
            for latent in self.summed:
                rows.append(f"{'    ' * depth}for {latent.name} in {self._every(latent)}:")
                depth += 1
            chosen = _entries({v.name: f"torch.tensor({v.name})" for v in self.summed})
            rows += wrap(f"at = v | {{{chosen}}}", depth)
            at = "at"
        share = " + ".join(f'log_q["{v.name}"]' for v in self.summed)
        if self.summed:
            share = f"({share}).exp()" if len(self.summed) > 1 else f"{share}.exp()"
        average = (f"{share} / model.samples" if share else "1 / model.samples") if self.drawn else share
        log_p_observed = " + ".join(f'log_p["{n}"]' for n in observed)
        total = f"({log_p_observed})" if len(observed) > 1 else log_p_observed
        rows += [
            f"{'    ' * depth}{line}"
            for line in (
                f"p, q = story(model, {at}), guide(model, {at})",
                f"log_p = {{name: log_density(p[name], {at}[name]) for name in p}}",
                f"log_q = {{name: log_density(q[name], {at}[name]) for name in q}}",
                f"share = {average}",
                f'expected["reconstruction"][b] += share * {total}',
                *(f'expected["KL of {p.name}"][b] += share * {self._divergence(p)}' for p in self.plan.latents),
                *(["joint.append(sum(log_p.values()))"] if self.summed else []),
            )
        ]
        evidence = "torch.stack(joint).logsumexp(0)" if self.summed else "sum(log_p.values())"
        if self.drawn:
            rows += [
                f'        expected["draws of {v.name}"][s, b] = q["{v.name}"][0].mean + q["{v.name}"][0].stddev * noise["{v.name}"][s, b]'
                for v in self.noisy
                if not v.plates
            ]
            of_q = "".join(f' - log_q["{v.name}"]' for v in self.drawn)
            rows += wrap(f'expected["log weights"][s, b] = {evidence}{of_q}', 2)
        else:
            rows.append(f'        expected["log p"][b] = {evidence}')
        parts = "".join(f' - expected["KL of {p.name}"]' for p in self.plan.latents)
        rows += wrap(f'expected["ELBO"] = expected["reconstruction"]{parts}', 1)
        if self._plain_loss():
            rows.append('    expected["loss"] = -expected["ELBO"].mean()')
        return rows

    def _own_sites(self, variable: Variable, code: str) -> str:
        """An example's value without padding."""
        cuts = [f': batch["{p}"][b]' if self.plan.spec.plate(p).ragged else ":" for p in variable.plates]
        while cuts and cuts[-1] == ":":
            cuts.pop()
        found = f"{code}{''.join(f', {c}' for c in cuts)}]"
        return f"{found}.double()" if variable.type.support.kind in ("count", "boolean") else found

    def _every(self, latent: Variable) -> str:
        """The values of a latent that is summed, at all of its sites."""
        size = latent.type.support.values
        plate = ragged_plate(size)
        values = f'range(batch["{plate}"][b])' if plate else f"range({self._size(size)})"
        if not latent.plates:
            return values
        if len(latent.plates) > 1:
            raise Unwritten(f"{latent.name} stands on several plates")
        (own,) = latent.plates
        extent = self.plan.spec.plate(own).size
        sites = f'batch["{own}"][b]' if extent is None else self._size(extent)
        return f"product({values}, repeat={sites})"

    def _count(self, latent: Variable) -> int:
        """How many values it has, at all sites of the longer example."""
        sizes = (self.plan.spec.plate(p).size for p in latent.plates)
        sites = prod(LENGTHS[0] if size is None else size.evaluate(self.numbers) for size in sizes)
        return latent.type.support.values.evaluate(self.numbers) ** sites

    def _divergence(self, latent: LatentPlan) -> str:
        """KL(q ‖ p): between the distributions where it is in closed form, else log q - log p at the values."""
        name = latent.name
        if latent.treated.averaged or latent.kl != "analytic":
            return f'(log_q["{name}"] - log_p["{name}"])'
        families = {
            c.dist.family
            for v in (self._factor(self.plan.spec.variable(name)), self.plan.spec.variable(name))
            for c in v.clauses
        }
        if len(families) > 1 or not families <= {*DIVERGENT}:
            raise Unwritten(f"torch.distributions has no KL of {name}")
        return f'divergence(q["{name}"], p["{name}"])'

    def _factor(self, latent: Variable) -> Variable:
        return next(v for v in self.plan.guide if v.role == "guide" and v.name == latent.name)

    def _latent(self, latent: Variable) -> LatentPlan:
        return self.plan.latent(latent.name)


DIVERGENCE = [
    "    def divergence(q: list, p: list) -> torch.Tensor:",
    "        return sum(td.kl_divergence(*pair).sum() for pair in zip(q, p, strict=True))",
    "",
]


def _entries(rows: dict, form: str = '"{}": {}') -> str:
    return ", ".join(form.format(name, value) for name, value in rows.items())


def _words(text: str) -> set[str]:
    """Names that a text uses as they are: no attributes."""
    return set(re.findall(r"(?<![\w.\"])[^\W\d]\w*", text))


def _reads(variable: Variable) -> set[str]:
    """Names of the variables that its clauses read."""
    bodies = [e for c in variable.clauses for e in (*(b.value for b in c.bindings), c.body) if e is not None]
    return {e.name for body in bodies for e in walk(body) if isinstance(e, VariableRef)}
