"""How near strings come to their references: BLEU (Papineni et al. 2002) and chrF (Popović 2015) of sacrebleu, an extra."""

from __future__ import annotations

from collections.abc import Sequence

from lvspec.errors import UsageError


def corpus_figures(found: Sequence[str], references: Sequence[str]) -> dict[str, float | str]:
    """BLEU and chrF of the whole corpus, in per cent, with sacrebleu's signatures; per cent of strings that are their reference.

    Words are those that the data settings split, so that none is split again.
    """
    try:
        from sacrebleu.metrics import BLEU, CHRF
    except ImportError as reason:
        raise UsageError("--figures needs sacrebleu: pip install 'lvspec[decode]'") from reason
    bleu, chrf = BLEU(tokenize="none", force=True), CHRF()
    scores = {
        "BLEU": bleu.corpus_score(found, [references]).score,
        "chrF": chrf.corpus_score(found, [references]).score,
    }
    same = sum(a == b for a, b in zip(found, references, strict=True))
    signatures = {"BLEU signature": str(bleu.get_signature()), "chrF signature": str(chrf.get_signature())}
    return {**scores, "exact match": 100 * same / max(len(references), 1), **signatures}
