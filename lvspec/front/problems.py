"""The diagnostics of a spec, collected: every code with its meaning, and the list that grows while a file is checked."""

from __future__ import annotations

from collections.abc import Callable

from lvspec.errors import Diagnostic, Source, Span, SpecError

# code -> what it says, in the order of the stages that find it
CODES: dict[str, str] = {
    # ------------------------------------------------ text and YAML
    "too-large": "the file, its nesting, its aliases or an expression is beyond the limits",
    "too-many": "more problems than anybody reads",
    "control-character": "a character that a reader cannot see or trust",
    "yaml-syntax": "YAML cannot be read",
    "yaml-tab": "a tab used for indentation",
    "yaml-quote": "an expression that YAML reads as something else and that needs quotes",
    "yaml-split": "an expression that a flow mapping or list has cut at a comma or bracket",
    "yaml-tag": "a tag such as !!python/object",
    "yaml-merge": "a merge key <<",
    "yaml-cycle": "an alias that contains itself",
    "yaml-documents": "more than one document, or none",
    "duplicate-key": "the same key twice",
    "bad-key": "a key that is not a plain name",
    "missing-value": "a key without a value",
    "wrong-value": "a value of another kind than the key takes",
    "bad-number": "a number that YAML readers disagree about, or that is out of range",
    "write-true-or-false": "yes, no, on or off where true or false is meant",
    # ------------------------------------------------ sections
    "unknown-section": "a section that lvspec does not have",
    "missing-version": "no `lvspec: 1`",
    "unknown-version": "a version of the language that this lvspec does not read",
    "empty-model": "neither an observed nor a latent variable",
    "unknown-setting": "a key that the section does not have",
    "wrong-setting": "a setting with a value that it cannot take",
    "not-given": "values of a latent that cannot be conditioned on",
    "unknown-strategy": "an override that names no strategy",
    "override-not-latent": "a setting of a variable that is not a latent",
    # ------------------------------------------------ names and declarations
    "bad-name": "a name that is not letters, digits and single underscores",
    "reserved-name": "a name that Python, PyTorch or the emitted module needs",
    "name-clash": "one name for two things",
    "expression-syntax": "an expression that cannot be parsed",
    "unknown-name": "a name that nothing declares",
    "unknown-function": "a call of nothing that exists",
    "bad-size": "a size that is not a positive number, nor known from data",
    "size-source": "a size from data that the variable does not have",
    "bad-plate": "a plate that is none of the kinds",
    "bad-param": "a parameter whose shape or options cannot be read",
    "unknown-network": "a network that is none of the kinds",
    "network-arguments": "a network declared with wrong sizes or options",
    "module-not-allowed": "a user's module outside the packages that the command line allows",
    "bad-given": "a given variable that is none of the kinds",
    "bad-target": "the left of a colon that is no variable with its sites",
    "bad-clause": "clauses of one variable that do not fit each other",
    "no-distribution": "a random variable without a distribution",
    "distribution-in-let": "a distribution where a value is meant",
    # ------------------------------------------------ expressions
    "wrong-kind": "a name used as something that it is not",
    "index-missing": "a variable with fewer indices than plates",
    "too-many-indices": "more indices than plates or axes",
    "unbound-plate": "an index that the clause does not speak of",
    "wrong-plate": "an index of another plate than the variable's",
    "unordered-plate": "a previous site or a prefix of a plate without an order",
    "plate-order": "variables whose indices have the same plates in two orders",
    "nested-site": "another site of a plate, at a site of one that is nested in it",
    "bad-index": "an index that is no integer expression",
    "index-size": "an index that runs over another size than the axis",
    "index-range": "an index that may lie outside the axis",
    "latent-length": "what would hold sites beyond a length that is a variable",
    "future-site": "a site that comes later than the one it explains",
    "begin-symbol": "the begin symbol where a number below a size is needed",
    "sees-the-future": "a network that needs all sites under a prefix",
    "needs-stretch": "a recurrent network or a stretch function applied to a single site",
    "whole-as-site": "a whole stretch where one site is meant",
    "mixed-stretch": "stretches of two kinds, or a stretch and a site, in one expression",
    "not-segments": "`x[<t in z]` where z has no segments along t, or runs over other plates than x",
    "over-unused": "`over` a plate that the expression does not vary over",
    "arguments": "a call with too few, too many or unknown arguments",
    "shape-mismatch": "shapes that do not fit",
    "support-mismatch": "a value outside the support that is asked for",
    "real-as-index": "a real value where an integer is needed",
    "integer-as-real": "the number of a category where a real value is needed",
    "unknown-distribution": "a distribution that does not exist",
    "parameterization": "both or none of probs and logits",
    "misplaced-suffix": "where, over, through, with or copies where they mean nothing",
    "split-names": "`where` with another number of names than parts",
    "choice": "if, then and else that do not make a mixture",
    "drawn-together": "several names, or one, for what a distribution draws together",
    "no-inverse": "a flow without an inverse where the density of a given value is needed",
    "undetermined": "a variable whose shape nothing fixes",
    # ------------------------------------------------ the graph
    "cycle": "variables that depend on each other at one site",
    "drawn-between": "a variable that is drawn behind the first site of a plate and ahead of its others",
    "recursive-let": "a computed variable that reads its own earlier sites",
    "missing-initial": "a previous site without a clause for the first ones",
    "surplus-initial": "a clause for a first site that no general clause reaches back to",
    "global-reads-local": "a variable of the data set that reads one of an example",
    # ------------------------------------------------ the guide
    "guide-not-latent": "a guide for what is observed, given or computed",
    "guide-mismatch": "a guide with another family, support, shape or plates than its latent",
    "guide-unavailable": "a guide that conditions on a latent not yet drawn",
    "guide-both-ways": "a guide that runs forwards and backwards",
    # ------------------------------------------------ warnings
    "unused-latent": "a latent that no observed variable depends on",
    "no-effect": "an option that changes nothing",
    "copies-of-a-vector": "copies of a distribution over vectors of that length, where one vector may be meant",
    "probabilities-as-logits": "probabilities where logits are asked for",
    "unused-name": "a size, plate, parameter, network or let variable that nothing uses",
}


MOST = 100  # problems of one file; whoever has more mends these first
Help = str | Callable[[], str]  # a mend, or how to find it, for a diagnostic that is kept


class Problems:
    """Diagnostics found so far; one for each place and code.

    quiet: nothing counts, while types are still being found.
    """

    def __init__(self, source: Source, quiet: bool = False):
        self.source = source
        self.quiet = quiet
        self.found: list[Diagnostic] = []
        self.wrong: set[str] = set()  # names declared with a mistake: their uses are no further ones
        self._seen: set[tuple[str, Span]] = set()

    def error(self, code: str, span: Span, message: str, label: str = "", help: Help = "", notes=()) -> None:
        self._add("error", code, span, message, label, help, notes)
        if len(self.found) >= MOST:
            self._too_many(span)

    def warning(self, code: str, span: Span, message: str, label: str = "", help: Help = "", notes=()) -> None:
        self._add("warning", code, span, message, label, help, notes)

    def _add(self, severity: str, code: str, span: Span, message: str, label: str, help: Help, notes) -> None:
        if code not in CODES:
            raise KeyError(code)
        if self.quiet or (code, span) in self._seen:
            return
        self._seen.add((code, span))
        mend = help if isinstance(help, str) else help()
        self.found.append(Diagnostic(code, span, message, label, mend, severity, tuple(notes)))

    def _too_many(self, span: Span) -> None:
        shown = max([span, *(d.span for d in self.found)])
        last = Diagnostic("too-many", shown, f"{MOST} problems are enough for once: mend these, then check again")
        raise SpecError(self.source, (*self.found, last))

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        return tuple(d for d in self.found if d.severity == "error")

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        return tuple(sorted((d for d in self.found if d.severity == "warning"), key=lambda d: (d.span, d.code)))

    def stop_if_any(self) -> None:
        """End of a stage: all that was found, if an error is among it."""
        if self.errors:
            raise SpecError(self.source, tuple(self.found))
