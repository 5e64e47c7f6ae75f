"""Names: what may be one, which are taken, and which one was probably meant."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterable

from lvspec.errors import Span
from lvspec.front.problems import Problems
from lvspec.ir.distributions import FAMILIES

MAX_LENGTH = 64
MOST_CANDIDATES = 100  # that a misspelt name is compared with
_PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

# attributes of torch.nn.Module (2.13), written out because nothing here imports torch
_MODULE = """
    T_destination add_module apply bfloat16 buffers call_super_init children compile cpu cuda double dump_patches
    eval extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half ipu load_state_dict
    modules mtia named_buffers named_children named_modules named_parameters parameters register_backward_hook
    register_buffer register_forward_hook register_forward_pre_hook register_full_backward_hook
    register_full_backward_pre_hook register_load_state_dict_post_hook register_load_state_dict_pre_hook
    register_module register_parameter register_state_dict_post_hook register_state_dict_pre_hook requires_grad_
    set_extra_state set_submodule share_memory state_dict to to_empty train training type xpu zero_grad
"""
# words that emitted modules use for things of their own
_EMITTED = """
    self torch math nn F B batch draws phase phases index weight step loss elbo log_prob log_joint reconstruction kl
    posterior importance log_weights log_marginal zero rows tilt semiring
    sample samples prepare batch_inputs lengths dataset_size objective Objective Model Tensor lvspec runtime rt forward
    encode predictive shared_draws ascend fit_rows optimum shared_factors shared_prior own_prior log_prior one_chain one_part joint_density
    zuko guide prior_kl refined unrefined elbo_at forward_at_labels decode super range len int bool str list dict tuple set sum min max abs zip
    enumerate isinstance object print
"""
# words of the expression language
_LANGUAGE = "over where with through global"

TAKEN = frozenset(_EMITTED.split()) | frozenset(_LANGUAGE.split())
RESERVED = frozenset(keyword.kwlist) | frozenset(_MODULE.split()) | frozenset(FAMILIES) | TAKEN


def check_name(name: str, span: Span, problems: Problems) -> bool:
    """Whether something of this name can be spoken of; notes what is wrong with it (a reserved name is still a name)."""
    if not _PATTERN.fullmatch(name) or "__" in name or name.endswith("_") or len(name) > MAX_LENGTH:
        rule = f"a name is letters, digits and single underscores, starts with a letter and has at most {MAX_LENGTH} characters"
        problems.error("bad-name", span, f"`{name[:80]}` cannot be a name: {rule}")
        return False
    if name in RESERVED or name in keyword.softkwlist:
        problems.error(
            "reserved-name",
            span,
            f"`{name}` is taken: Python or the emitted module has a use of its own for it",
            help=f"call it for example `{name}_value`",
        )
    if name.endswith("_observed"):
        problems.error(
            "reserved-name",
            span,
            f"`{name}` is taken: a batch holds under this name which of `{name.removesuffix('_observed')}` are given",
        )
    return True


def check_axis_name(name: str, span: Span, problems: Problems) -> bool:
    """`check_name` of a variable or a plate, after which axes are called: `S` is that of draws."""
    if name == "S":
        problems.error(
            "reserved-name",
            span,
            "`S` is taken: variables and plates have axes in the emitted module, where S is the axis of draws",
            help="call it for example `S_value`",
        )
    return check_name(name, span, problems)


def distance(a: str, b: str, limit: int) -> int:
    """Edits (one character put in, taken out, changed or swapped with its neighbour) from a to b; limit + 1 where more."""
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    before, row = [], list(range(len(b) + 1))
    for i, c in enumerate(a, 1):
        before, last, row = row, before, [i]
        for j, d in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (c != d))
            if i > 1 and j > 1 and c == b[j - 2] and a[i - 2] == d:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
    return min(row[-1], limit + 1)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant, or None."""
    limit = 1 if len(name) <= 3 else 2 if len(name) <= 7 else 3
    folded = name.casefold()
    letters = set(folded)
    near = [k for k in dict.fromkeys(known) if k != name and len(letters ^ set(k.casefold())) <= 2 * limit]
    ranked = sorted((distance(folded, k.casefold(), limit), k) for k in near[:MOST_CANDIDATES])
    return ranked[0][1] if ranked and ranked[0][0] <= limit and len(name) > 1 else None


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> Callable[[], str]:
    """A proposed mend, found when somebody is to read it."""
    known = tuple(known)

    def mend() -> str:
        meant = nearest(name, known)
        return f"did you mean `{meant}`?" if meant else otherwise

    return mend


def class_name(name: str) -> str:
    """`sentence_vae` as SentenceVAE: CamelCase, with the acronyms of the field in capitals; `true` as TrueModel."""
    found = "".join(_capital(w) for w in name.split("_") if w)
    return f"{found}Model" if keyword.iskeyword(found) else found


def _capital(word: str) -> str:
    if word in _ACRONYMS:
        return word.upper()
    return word[:-1].upper() + "s" if word[:-1] in _ACRONYMS and word.endswith("s") else word[:1].upper() + word[1:]


_ACRONYMS = frozenset(
    "hmm vae gm rnn lm lda crf dmv pcfg ctc nmt iwae lstm gru gmm hsmm svi map iaf dem nvdm rnng cnn mlp ibm ibm1 dmm lds".split()
)
