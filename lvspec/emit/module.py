"""The emitted file: header, constructor, and the methods in reading order."""

from __future__ import annotations

import re

from lvspec.emit.factors.integrals import asks, integral_answers, integral_methods
from lvspec.emit.factors.structures import part_methods, parts_body
from lvspec.emit.guide.refine import refine_methods
from lvspec.emit.methods.constructor import STEP, ZERO, constructor, fit_rows, user_class
from lvspec.emit.methods.docstrings import (
    bound_doc,
    described,
    exact_forward_doc,
    log_prob_doc,
    log_weight,
    marginal_doc,
    posterior_doc,
)
from lvspec.emit.methods.encode import encode_body
from lvspec.emit.methods.header import class_doc, header, import_lines
from lvspec.emit.methods.inputs import batch_inputs, prepare
from lvspec.emit.methods.marginal import log_marginal, log_potential, plate_in_blocks
from lvspec.emit.methods.mean_field import mean_field_methods
from lvspec.emit.methods.points import point_methods
from lvspec.emit.methods.posterior import latent_sizes, posterior_body, zero_tilts
from lvspec.emit.methods.priors import prior_method
from lvspec.emit.methods.self_check import check_lines
from lvspec.emit.methods.site_methods import sampling_methods
from lvspec.emit.methods.structured_mean_field import chain_factor_methods
from lvspec.emit.methods.weights import shared_draws, weight_methods, weights_head
from lvspec.emit.objective.coupled import coupled_body
from lvspec.emit.objective.loss import loss_line
from lvspec.emit.objective.objective import exact_body, forward_body, weights_body
from lvspec.emit.text.records import with_records
from lvspec.emit.text.repeated import without_repeated
from lvspec.emit.text.shared import with_shared_methods
from lvspec.emit.text.text import WIDTH, docstring, wrap
from lvspec.ir.plan import Plan
from lvspec.ir.words import listed


def module_text(plan: Plan, self_check: bool = False) -> str:
    """The whole file as text, deterministic to the byte."""
    imports: set[str] = set()
    made = constructor(plan, imports)
    methods = [made, batch_inputs(plan, imports), prepare(plan, imports), *inference(plan, imports)]
    scheduled = bool(imports & {"linear", "cyclical"})
    if scheduled:
        at = made.index(ZERO)
        made[at:at] = STEP
    methods += [prior_method(plan, imports), fit_rows(plan, imports), *sampling_methods(plan, imports)]
    body = "\n\n".join("\n".join(_trimmed(m)) for m in methods if m)
    body = without_repeated(with_shared_methods(body, plan))
    check = "\n".join([*check_lines(plan, imports), ""]) if self_check else ""
    records, body = with_records(
        body, imports | {plan.spec.class_name, *(user_class(n) for n in plan.networks if n.path)}
    )
    imports &= set(re.findall(r"(?<![\w.])\w+", "\n".join([*records, body, check])))
    imports |= {"NamedTuple"} if records else set()
    head = "\n".join(header(plan))
    name = plan.spec.class_name
    if name in imports:  # a class of the runtime that this file uses
        name += "Model"
    story = "\n".join(class_doc(plan, scheduled))
    model = f"class {name}(nn.Module):\n{story}\n\n{body}"
    parts = [
        f"{head}\n{import_lines(plan, imports)}",
        *records,
        model,
        *([check.replace("{class}", name)] if check else []),
    ]
    return "\n\n\n".join(parts).rstrip("\n") + "\n"


def _trimmed(lines: list[str]) -> list[str]:
    """No blank lines at the end of a method, and its docstring in lines that are not too long."""
    text = "\n".join(line.rstrip() for line in lines).rstrip("\n")
    return re.sub(r'^        """(.*?)"""$', _refilled, text, flags=re.MULTILINE | re.DOTALL).split("\n")


def _refilled(found: re.Match) -> str:
    if all(len(line) <= WIDTH for line in found[0].split("\n")):
        return found[0]
    return "\n".join(docstring(" ".join(found[1].split()), 2))


def inference(plan: Plan, imports: set[str]) -> list[list[str]]:
    """forward, log_prob and posterior, with what they stand on."""
    if plan.points:
        return [*integral_methods(plan, imports), *point_methods(plan, imports)]
    if plan.structured:
        return chain_factor_methods(plan, imports)
    if plan.mean_field:
        return mean_field_methods(plan, imports)
    integrals = integral_methods(plan, imports)
    if not plan.sampled:
        return [*integrals, *_exact(plan, imports)]
    imports.add("Objective")
    head = "    def forward(self, batch: dict, draws: dict | None = None) -> Objective:"
    body = (coupled_body if plan.coupled else forward_body)(plan, imports)
    prepared = "batch, samples = self.prepare(batch), self.samples"
    forward = [[head, *bound_doc(plan, draws=True), f"        {prepared}", *labelled(plan, imports), *body]]
    if plan.labelled:
        forward.append(forward_at_labels(plan, imports))
    parameters = []
    if plan.refined:
        parameters = ["        parameters = self.refined(batch, draws or {})"]
        forward = [
            *refine_methods(plan, imports),
            [
                "    def elbo_at(self, batch: dict, draws: dict, parameters: dict) -> Objective:",
                *bound_doc(plan, f", at these parameters of {', '.join(f'q({n})' for n in plan.refined)}", draws=True),
                "        batch, samples = self.prepare(batch), self.samples",
                *body,
            ],
            [
                head,
                *described("`elbo_at` the refined parameters of q."),
                "        batch, draws = self.prepare(batch), draws or {}",
                "        return self.elbo_at(batch, draws, self.refined(batch, draws))",
            ],
        ]
    arguments, about = "batch: dict, samples: int, draws: dict | None = None", log_weight(plan)
    if asks(plan):
        arguments, about = (
            f"{arguments}, ask: dict | None = None",
            f"{about} (`ask` adds to log-factors of summed latents)",
        )
    weights = [
        *weights_head(plan, arguments, about),
        *parameters,
        *weights_body(plan, imports),
    ]
    answers = [weights, weight_methods(plan, imports), shared_draws(plan, imports), *part_methods(plan, imports)]
    answers.append(posterior_body(plan, imports))
    encode = encode_body(plan, imports)
    return [*integrals, *forward, *answers, *([encode] if encode else [])]


def labelled(plan: Plan, imports: set[str]) -> list[str]:
    """The lines of `forward` that leave out a sum over what a batch gives throughout."""
    if not plan.labelled:
        return []
    imports.add("all_known")
    names = ", ".join(f'"{n}"' for n in plan.labelled)
    return wrap(f"if draws is None and all_known(batch, {names}):", 2) + [
        "            return self.forward_at_labels(batch)"
    ]


def forward_at_labels(plan: Plan, imports: set[str]) -> list[str]:
    """`forward_at_labels`: the objective of a prepared batch that gives all examples their labels."""
    return [
        "    def forward_at_labels(self, batch: dict, draws: dict | None = None) -> Objective:",
        *described(
            f"`forward` of a prepared batch that gives {listed(plan.labelled)} for all examples: nothing is summed."
        ),
        "        samples = self.samples",
        *forward_body(plan, imports, plan.labelled),
    ]


def _exact(plan: Plan, imports: set[str]) -> list[list[str]]:
    imports.add("Objective")
    summed = [p.name for p in plan.latents if not p.treated.integrated]
    finite = latent_sizes(plan)
    marginal, known, call = _marginal(plan, imports, summed), "", "self.log_marginal(batch)"
    if finite:
        imports.update(("LOG", "evidence"))
        known = f"evidence(batch, self.zero, {', '.join(f'{n}={s}' for n, s in finite.items())})"
        call = f"self.log_marginal(batch, {known})"
    if plan.objective == "log_marginal" and plan.spec.terms:
        forward = [
            "    def forward(self, batch: dict) -> Objective:",
            *exact_forward_doc(plan),
            "        batch = self.prepare(batch)",
            *exact_body(plan, imports, "log_prob"),
        ]
    elif plan.objective == "log_marginal":
        forward = [
            "    def forward(self, batch: dict) -> Objective:",
            *exact_forward_doc(plan),
            "        batch = self.prepare(batch)",
            "        log_prob = self.log_prob(batch)",
            f"        {loss_line(plan, imports, 'log_prob')}",
            "        return Objective(loss, log_prob=log_prob)",
        ]
    else:
        forward = [
            "    def forward(self, batch: dict) -> Objective:",
            *bound_doc(plan),
            "        batch = self.prepare(batch)",
            *forward_body(plan, imports),
        ]
    log_prob = [
        "    def log_prob(self, batch: dict) -> torch.Tensor:",
        *log_prob_doc(plan),
        "        batch = self.prepare(batch)",
        *wrap(f"return {call}", 2),
    ]
    encode = encode_body(plan, imports)
    methods = [marginal, forward, log_prob, *([encode] if encode else [])]
    if plate_in_blocks(plan):
        potential = [
            "    def log_potential(self, batch: dict, tilt: dict) -> torch.Tensor:",
            f'        """What the sites of {plate_in_blocks(plan)} in a batch say of their own states."""',
            *log_potential(plan, imports, summed),
        ]
        methods.insert(0, potential)
    parts = parts_body(plan, imports)
    if finite or parts or plan.integrations:
        methods.append(_exact_posterior(plan, imports, known, parts))
    return methods


def _marginal(plan: Plan, imports: set[str], summed: list[str]) -> list[str]:
    """`log_marginal`; where no finite latent is summed there is nothing to tilt."""
    body, sizes = log_marginal(plan, imports, summed), latent_sizes(plan)
    if not sizes:
        return [
            "    def log_marginal(self, batch: dict) -> torch.Tensor:",
            *marginal_doc(plan),
            *body,
        ]
    return [
        "    def log_marginal(self, batch: dict, tilt: dict, semiring=LOG) -> torch.Tensor:",
        *marginal_doc(plan, next(iter(sizes))),
        *body,
    ]


def _exact_posterior(plan: Plan, imports: set[str], known: str, parts: list[str]) -> list[str]:
    """`posterior`: of summed latents by tilts, of hidden structures and of integrals by their own programs."""
    answers, rows = [], list(parts)
    if known:
        imports.add("exact_posterior")
        rows += [*zero_tilts(plan, imports), *wrap(f"tilts |= {known}", 2)]
        answers.append("exact_posterior(lambda tilt, semiring: self.log_marginal(batch, tilt, semiring), tilts)")
    if parts:
        answers.append("parts")
    if plan.integrations:
        answers.append(integral_answers(plan, imports))
    return [
        "    def posterior(self, batch: dict) -> dict:",
        *posterior_doc(plan),
        "        batch = self.prepare(batch)",
        *rows,
        *wrap(f"return {' | '.join(answers)}", 2),
    ]
