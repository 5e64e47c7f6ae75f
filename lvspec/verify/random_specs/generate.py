"""Random well-formed specs: `generate(seed)` is the YAML text of a small model that nobody thought of.

Each is asked to hold a few constructs of the language, drawn from their list (constructs.py); where a choice is open it falls
on what is asked for. Latents come one after the other, each with parents among those before it; observations add up
contributions of some of them; guides and overrides are written for some. Sizes are small enough for brute force as
they are. What the front end or the planner refuses is drawn again, with fewer wishes.
"""

from __future__ import annotations

import random
import re
from collections.abc import Container, Iterator
from functools import cache, lru_cache

from lvspec.driver import plan_read
from lvspec.errors import SpecError
from lvspec.front import load
from lvspec.ir.estimators import STRATEGIES
from lvspec.ir.plan import Plan
from lvspec.ir.spec import Spec
from lvspec.verify.random_specs.drafts import conjugates, special
from lvspec.verify.random_specs.drafts import globals as shared
from lvspec.verify.random_specs.drafts.chains import chain
from lvspec.verify.random_specs.drafts.draft import Draft, Parent
from lvspec.verify.random_specs.drafts.guides import guide_for
from lvspec.verify.random_specs.drafts.latents import PLAIN, add_latent, many
from lvspec.verify.random_specs.drafts.layout import give, lay_out
from lvspec.verify.random_specs.drafts.observed import ANY, UNREAD, again, declare, observe
from lvspec.verify.random_specs.drafts.settings import EXACT, bound, overrides, pinned, settings
from lvspec.verify.random_specs.drafts.stretches import given_sequence, history
from lvspec.verify.random_specs.drafts.structures import TREES
from lvspec.verify.random_specs.drafts.together import pair
from lvspec.verify.random_specs.drafts.wishes import SOUGHT, WISHES, chosen, shared_out, weight
from lvspec.verify.random_specs.held import constructs_of
from lvspec.verify.random_specs.text import matched

LATENT = re.compile(
    r"latent |guide |global |infer |bound |kl_weight |free_bits |.* of a (latent|guide)|!(chain|position|length|tied|cross|conj|prop|fact|kal|bl)"
)
# what stands behind the model, or is written for a latent without a strategy: it may still come to a model that has a plan
LATER = re.compile(
    r"(infer|bound|guide|kl_weight|free_bits|term|.* in a term|.* by a term) ?.*|guide: .*|memory: .*|known|expected|class|"
    rf"description|phases|({'|'.join(STRATEGIES)})\(.*"
)
STRATEGY = re.compile(rf"(?:infer )?({'|'.join(STRATEGIES)})(\(.*)?")
OPTIMA = {
    row.name for row in STRATEGIES.values() if "tolerance" in row.options
}  # strategies that `guide:` brings about, legal before or not
OF_A_BOUND = re.compile("kl_weight|free_bits|known|expected")
ATTEMPTS = 6
ENOUGH = 4  # attempts at what nobody in particular asked for, if one of them has a plan
PLAINER = 0.4  # the share of what nobody asked for in further attempts at what somebody did
MORE = 2  # latents at most for families that are wished for
TAKEN = 6  # settings that are taken back at most
SALT = "g"  # of the stream that all specs come from


@cache
def generate(seed: int, *asked: str) -> str:
    """The text of the spec with this number; of those that are asked for certain constructs. Of a few attempts the first
    that holds all that is sought, or the most of it: what is seldom held counts for more."""
    sought = {c: weight(c) for c in asked or wishes_of(seed)[:SOUGHT]}
    best = (-1.0, 0, "")  # what it holds, attempt, text
    for attempts in [range(ATTEMPTS)] if asked else [range(ENOUGH), *([a] for a in range(ENOUGH, ATTEMPTS))]:
        for reach, attempt, d in by_reach(sought, ((a, begun(seed, a, *asked)) for a in attempts)):
            if (reach, -attempt) < best[:2]:
                continue
            plan = planned(d)
            if plan is None:
                return d.text()
            if not isinstance(plan, Plan) or (within_reach(d, sought), -attempt) < best[:2]:
                continue
            pinned(d, plan)
            before, plan = d.text(), bounded(d, plan)
            if (within_reach(d, sought, plan), -attempt) < best[:2]:
                continue
            text = finished(d, plan) or before
            held = worth(sought, constructs_of(read(text)))
            best = max(best, (held, -attempt, text))
            if held == worth(sought, sought):
                return text
        if best[2]:
            return best[2]
    return d.text()


def by_reach(sought: dict[str, float], drafts: Iterator[tuple[int, Draft]]) -> Iterator[tuple[float, int, Draft]]:
    """Attempts, those first that may come to hold most: others need not be finished then. One that may hold all is tried
    before the next is begun."""
    waiting = []
    for attempt, d in drafts:
        reach = within_reach(d, sought)
        if reach == worth(sought, sought):
            yield reach, attempt, d
        else:
            waiting.append((reach, attempt, d))
    yield from sorted(waiting, key=lambda w: (-w[0], w[1]))


@cache
def wishes_of(seed: int) -> list[str]:
    """What the spec with this number is asked for: the first few are sought, the others are wished for."""
    return chosen(random.Random(f"{SALT}{seed}"))


def begun(seed: int, attempt: int = 0, *asked: str) -> Draft:
    """A model and its guide, that may be refused. The later the attempt, the fewer wishes."""
    rng = random.Random(" ".join([f"{SALT}{seed} {attempt}", *asked]))
    d = Draft(rng, f"random_{seed}", zest=PLAINER if asked and attempt else 1.0)
    kept = max(SOUGHT, WISHES - 3 * attempt) if attempt < ENOUGH else ATTEMPTS - 1 - attempt
    wishes = list(asked) or wishes_of(seed)[:kept]
    parts = shared_out(wishes, rng, alone=len(asked) == 1)
    d.parts = len(parts)
    for mark, part in zip(("", "_2"), parts, strict=False):
        if mark:
            d.another(mark)
        d.wishes |= part
        tell(d)
    return d


def worth(sought: dict[str, float], held: Container[str]) -> float:
    return sum(w for c, w in sought.items() if c in held)


def within_reach(d: Draft, sought: dict[str, float], plan: Plan | None = None) -> float:
    """How much of what is sought the model holds, or may yet come to hold; plan: the one to which only settings are added."""
    try:
        held = constructs_of(read(d.text()))
    except SpecError:
        return 0
    later = (c for c in sought if LATER.fullmatch(c) and (plan is None or settable(c, plan)))
    return worth(sought, held.union(later))


def planned(d: Draft) -> Plan | SpecError | None:
    """Its plan; latents without a strategy are given a q first."""
    plan = plan_of(d.text())
    for _ in range(2):
        if not isinstance(plan, SpecError):
            break
        rows = d.text().splitlines()
        lines = [rows[e.span.line - 1] for e in plan.diagnostics if e.code == "no-strategy"]
        found = [matched(re.match(r"\s*(global )?\W*(\w*)", line))[2] for line in lines]
        lacking = [p for p in d.latents if _drawn(p) in found and not d.guided(_drawn(p))]
        if not lacking:
            break
        for p in lacking:
            guide_for(d, p, [], surely=True)
        plan = plan_of(d.text())
    return plan


def _drawn(p: Parent) -> str:
    """The latent that is read so: h[z[t]] is of z."""
    return matched(re.match(r"\w+\[(\w+)|", p.text))[1] if p.family in TREES else p.name


def bounded(d: Draft, plan: Plan) -> Plan:
    """With another bound, now and then."""
    if not bound(d, plan):
        return plan
    found = planned(d)
    return found if isinstance(found, Plan) else settled(d) or plan


def settable(construct: str, plan: Plan) -> bool:
    """Whether settings may add a construct of `LATER` to a model that has this plan, whose guide and bound are written."""
    strategy = STRATEGY.fullmatch(construct)
    if strategy:
        legal = {
            n for p in plan.latents for n in (p.strategy, *(n for n, why in p.declined if why.startswith("legal")))
        }
        return strategy[1] in legal | OPTIMA
    return not construct.startswith(("guide ", "bound ")) and (
        plan.objective not in EXACT or not OF_A_BOUND.match(construct)
    )


def finished(d: Draft, plan: Plan) -> str:
    """With settings that the plan allows: what is refused is taken back, entry by entry; nothing if that is of no help."""
    overrides(d, plan)
    settings(d, plan)
    found = settled(d)
    if found is None:
        return ""
    pinned(d, found)
    return d.text()


def settled(d: Draft) -> Plan | None:
    """The plan with the settings that are not refused, if there is one; what lvspec breaks over is left as it is."""
    for _ in range(TAKEN):
        found = plan_of(d.text())
        if not isinstance(found, SpecError):
            return found
        errors = [e for e in found.diagnostics if e.severity == "error"]
        if not d.take_back([(e.span.line, f"{e.message} {e.help}") for e in errors]):
            break
    return None


@lru_cache(maxsize=32)
def plan_of(text: str) -> Plan | SpecError | None:
    """The plan, or what refuses the spec; None where lvspec itself breaks over it."""
    try:
        return plan_read(read(text))
    except SpecError as error:
        return error
    except Exception:  # noqa: BLE001 - a fault of lvspec: for whoever compiles the spec to meet
        return None


@lru_cache(maxsize=32)
def read(text: str) -> Spec:
    """The spec of a text. Each text is read once, for its constructs and for its plan."""
    return load(text, "random")


def tell(d: Draft) -> None:
    """One model, or a part of one, section by section, and its guide."""
    before, silent = tuple(d.latents), d.wants("no observation")
    lay_out(d)
    declare(d)
    given(d)
    if not silent and d.wants("latent reads observed", 0.05):
        histories(d)
    if d.wants("!risk", 0.02):
        special.risk(d)
    latents(d)
    if not silent:
        histories(d)
    if not silent or not d.objective:
        observations(d)
    guided = [p for p in d.latents if (p.ref in d.latent or p.family in TREES) and p not in before]
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
    if d.wants("0 latents", 0.0 if any(LATENT.match(w) for w in d.wishes) else 0.05) and not wide:
        return
    counts = {"1": 1, "2": 2, "3": 3, "4 to 9": 5}
    asked = d.wished("{} latents", list(counts))
    lonely = wide or d.wants("!only")
    for _ in range(
        0
        if lonely
        else counts[asked[0]]
        if asked
        else d.choose(*((1, 1, 2, 2, 3, 4) if d.parts == 1 else (1, 1, 1, 2)))
    ):
        add_latent(d)
    for _ in range(0 if asked or lonely else MORE):  # of what is wished for and did not find a place among so few
        if d.wished("latent {}", PLAIN):
            add_latent(d)
    parts = {
        "!length": special.latent_length,
        "!tied": special.tied_encoder,
        "!crossing": special.crossing,
        "!conjugate": conjugates.conjugate,
        "!proportions": conjugates.proportions,
        "!joint": conjugates.joint,
    }
    if d.alone:
        parts |= {"!factorial": conjugates.factorial, "!kalman": conjugates.kalman, "!chain": chain}
    for demand, part in parts.items():
        if d.wants(demand, 0.02):
            part(d)
    for family in special.BY_DRAWS:
        if d.wants(f"!draws of {family}", 0.01):
            special.by_draws(d, family)
    globals_of(d)


def observations(d: Draft) -> None:
    """x, and others for what nothing reads yet, or by chance."""
    if d.spoken:
        return
    observe(d)
    for _ in range(12):  # a further one may not come about: what is unread may be out of its plates' reach
        unread = [p for p in d.latents if not d.mentions(p) and not p.text and p.family not in UNREAD]
        if len(d.observed) >= 6 or not (
            d.wants("!again", 0.35 / d.parts) or d.wished("observed {}", list(ANY)) or unread
        ):
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
