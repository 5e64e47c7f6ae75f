"""Random well-formed specs: `generate(seed)` is the YAML text of a small model that nobody thought of.

Each is asked to hold a few constructs of the language, drawn from their list (constructs.py); where a choice is open it falls
on what is asked for. Latents come one after the other, each with parents among those before it; observations add up
contributions of some of them; guides and overrides are written for some. Sizes are small enough for brute force as
they are. What the front end or the planner refuses is drawn again, with fewer wishes.
"""

from __future__ import annotations

import random
from functools import cache

from lvspec.driver import plan_spec
from lvspec.errors import SpecError
from lvspec.ir.plan import Plan
from lvspec.verify.random_specs.coverage import drawn
from lvspec.verify.random_specs.drafts import conjugates, special
from lvspec.verify.random_specs.drafts import globals as shared
from lvspec.verify.random_specs.drafts.chains import chain
from lvspec.verify.random_specs.drafts.draft import Draft
from lvspec.verify.random_specs.drafts.guides import guide_for
from lvspec.verify.random_specs.drafts.latents import add_latent, many
from lvspec.verify.random_specs.drafts.layout import give, lay_out
from lvspec.verify.random_specs.drafts.observed import ANY, again, declare, observe
from lvspec.verify.random_specs.drafts.settings import overrides, settings
from lvspec.verify.random_specs.drafts.stretches import given_sequence, history
from lvspec.verify.random_specs.drafts.together import pair
from lvspec.verify.random_specs.drafts.wishes import needs

WISHES = 12  # constructs that a spec is asked to hold at most
ATTEMPTS = 8
SALT = "g"  # of the stream that all specs come from


@cache
def generate(seed: int, wish: str = "") -> str:
    """The text of the spec with this number; of those that are asked for one construct."""
    for attempt in range(ATTEMPTS):
        d = begun(seed, attempt, wish)
        plan = plan_of(d.text())
        if isinstance(plan, Plan):
            return finished(d, plan)
        if plan is None or attempt == ATTEMPTS - 1:
            return d.text()
    raise AssertionError


def begun(seed: int, attempt: int = 0, wish: str = "") -> Draft:
    """A model and its guide, that may be refused. The later the attempt, the fewer wishes."""
    rng = random.Random(f"{SALT}{seed} {attempt} {wish}")
    wishes = [wish] if wish else rng.sample(drawn(), max(0, WISHES - 2 * attempt))
    d = Draft(rng, f"random_{seed}", {n for w in wishes for n in (w, *needs(w, rng))})
    tell(d)
    return d


def finished(d: Draft, plan: Plan) -> str:
    """With settings that the plan allows: those that are refused are left out again."""
    before = d.text()
    overrides(d, plan)
    settings(d)
    for leave_out in LEFT_OUT:
        leave_out(d)
        if not isinstance(plan_of(d.text()), frozenset):
            return d.text()
    return before


# what is taken back, in turn, until a spec with settings has a plan
LEFT_OUT = (
    lambda d: None,
    lambda d: d.train.pop("free_bits", None),
    lambda d: (d.objective.clear(), d.infer.pop("budget_flops", None), d.infer.pop("budget_bytes", None)),
    lambda d: d.infer.pop("bound", None),
    lambda d: d.infer.clear(),
    lambda d: d.train.clear(),
)


def plan_of(text: str) -> Plan | frozenset[str] | None:
    """The plan; else the codes with which the spec is refused; None where lvspec itself breaks over it."""
    try:
        return plan_spec(text)
    except SpecError as error:
        return frozenset(d.code for d in error.diagnostics if d.severity == "error")
    except Exception:  # noqa: BLE001 - a fault of lvspec: for whoever compiles the spec to meet
        return None


def tell(d: Draft) -> None:
    """One model, section by section, and its guide."""
    lay_out(d)
    declare(d)
    given(d)
    if d.wants("latent reads observed", 0.05):
        histories(d)
    latents(d)
    histories(d)
    if d.wants("!risk", 0.02):
        special.risk(d)
    if not (d.wants("no observation") and d.objective):
        observations(d)
    guided = [p for p in d.latents if p.ref in d.latent]
    for i, latent in enumerate(guided):
        if len(guided) < 9 or d.chance(0.1):
            guide_for(d, latent, guided[:i])
    if d.wished("{}", ("drawn together", "latent NormalInverseWishart", "global NormalInverseWishart")) or d.chance(
        0.04
    ):
        pair(d)


def latents(d: Draft) -> None:
    """None, a few of any kinds, or a wide tree of them."""
    wide = d.wished("{} latents", ("10 to 24", "25 to 40"))
    if wide or d.chance(0.02):
        d.wishes.difference_update(f"{w} latents" for w in wide)
        many(d, d.rng.randint(25, 36) if "25 to 40" in wide else d.rng.randint(10, 20))
    if d.wants("0 latents", 0.05) and not wide:
        return
    counts = {"1": 1, "2": 2, "3": 3, "4 to 9": 5}
    asked = d.wished("{} latents", list(counts))
    for _ in range(0 if wide else counts[asked[0]] if asked else d.choose(1, 1, 2, 2, 3, 4)):
        add_latent(d)
    parts = {
        "!length": special.latent_length,
        "!tied": special.tied_encoder,
        "!conjugate": conjugates.conjugate,
        "!proportions": conjugates.proportions,
        "!joint": conjugates.joint,
    }
    if d.alone:
        parts |= {"!factorial": conjugates.factorial, "!kalman": conjugates.kalman, "!chain": chain}
    for demand, part in parts.items():
        if d.wants(demand, 0.02):
            part(d)
    globals_of(d)


def observations(d: Draft) -> None:
    """x, and others for what nothing reads yet, or by chance."""
    observe(d)
    for _ in range(12):  # a further one may not come about: what is unread may be out of its plates' reach
        unread = [p for p in d.latents if not d.mentions(p) and not p.text and p.family not in ("told", "own")]
        if len(d.observed) >= 6 or not (d.wants("!again", 0.35) or d.wished("observed {}", list(ANY)) or unread):
            break
        again(d)


def given(d: Draft) -> None:
    """What every example brings along."""
    while d.wants("!give", 0.15):
        give(d)
    if d.alone and d.wants("!given", 0.15):
        given_sequence(d)


def globals_of(d: Draft) -> None:
    if (
        d.wished("global {}", list(shared.FAMILIES))
        or d.wished("{}", ("global", "global on a plate"))
        or d.chance(0.06)
    ):
        shared.add_global(d)


def histories(d: Draft) -> None:
    """x's own past, as a latent would have it, or since a segment began."""
    if not (d.symbols and d.alone):
        return
    segments = [p for p in d.latents if p.family == "SemiMarkov"]
    if segments and (d.wants("!history") or d.chance(0.5)):
        history(d, segments if d.chance(0.5) else [], d.choose(*segments).name)
    elif d.wants("!history", 0.2):
        writers = [p for p in d.latents if p.kind == "category" and not p.plates and not p.text]
        history(d, writers if d.chance(0.4) else [])
