"""What importance weights answer: log p(x) of each example; where examples share draws, log p of the data set and what q predicts.

w_sb = p(x_b, z_sb | b_s) / q(z_sb | x_b, b_s)        of each example, b what all of them share
p(x_1 .. x_B) ≈ 1/S Σ_s p(b_s) / q(b_s) Π_b w_sb      of a batch that is the whole data set
"""

from __future__ import annotations

from lvspec.emit.guide.factors import write_guide
from lvspec.emit.lowering.program import Program
from lvspec.emit.methods.docstrings import described, importance_doc, importance_log_prob_doc
from lvspec.emit.text.text import wrap
from lvspec.ir.plan import Plan


def weights_head(plan: Plan, arguments: str, about: str) -> list[str]:
    """The signature of `log_weights`, what it gives, and that any batch will do."""
    shared = ", ".join(plan.drawn_once)
    given = ["torch.Tensor", "dict", *(["torch.Tensor"] if shared else [])]
    told = f"; then log p({shared}) - log q({shared}), (S,), of what all examples share" if shared else ""
    doc = described(f"{about}: (S, B), and the draws{told}.")
    prepared = "        batch = self.prepare(batch)"
    return [*wrap(f"def log_weights(self, {arguments}) -> tuple[{', '.join(given)}]:", 1), *doc, prepared]


def weight_methods(plan: Plan, imports: set[str]) -> list[str]:
    """`importance` and `log_prob`; where all examples share draws, `predictive` and `shared_draws` as well."""
    imports.add("importance")
    weighed = "self.log_weights(batch, samples)"
    if not plan.drawn_once:
        return [
            "    def importance(self, batch: dict, samples: int = 100):",
            *importance_doc(plan),
            f"        return importance({weighed}[0])",
            "",
            "    def log_prob(self, batch: dict, samples: int = 100) -> torch.Tensor:",
            *importance_log_prob_doc(plan),
            "        return self.importance(batch, samples).log_prob",
        ]
    shared = ", ".join(plan.drawn_once)
    return [
        "    def importance(self, batch: dict, samples: int = 100):",
        f'        """log p of a batch that is the whole data set, (): its examples share {shared}, so that it is no sum over them."""',
        f"        log_weight, _, log_ratio = {weighed}",
        "        return importance(log_weight.sum(1) + log_ratio)",
        "",
        "    def log_prob(self, batch: dict, samples: int = 100) -> torch.Tensor:",
        *importance_log_prob_doc(plan),
        "        return self.importance(batch, samples).log_prob",
        "",
        "    def predictive(self, batch: dict, samples: int = 100):",
        f'        """log E_q({shared}) p(x | {shared}) of each example by itself, (B,), under q as it was trained."""',
        f"        return importance({weighed}[0])",
    ]


def shared_draws(plan: Plan, imports: set[str]) -> list[str]:
    """Base noise of what all examples share, where it is drawn by a guide."""
    names = [n for n in plan.drawn_once if n in plan.sampled]
    if not names:
        return []
    program = Program(plan, imports, set(), ("samples",))
    program.scope.anew = True
    write_guide(program, plan, [], names, set())
    items = ", ".join(f'"{n}": {program.scope.entries[n]}' for n in names)
    program.scope.line(f"return {{{items}}}")
    return [*draws_head(plan), *program.text()]


def draws_head(plan: Plan) -> list[str]:
    return [
        "    def shared_draws(self, samples: int) -> dict:",
        f'        """Noise of {", ".join(plan.drawn_once)} for `draws`, so that several batches are weighted at the same draws."""',
    ]
