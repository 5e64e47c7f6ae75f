"""What a batch of a model holds: for each name its plates, its event axes and the kind of its values.

Read off a checked spec; nothing here knows of files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lvspec.ir.dims import Dim
from lvspec.ir.spec import Plate, Spec, Variable
from lvspec.ir.structured import structure_of
from lvspec.train.settings import data_settings


@dataclass(frozen=True)
class Field:
    """One tensor of the batch.

    kind: symbol (ids of a finite set) | binary (0 or 1) | count | real.
    event: its event axes, None where only data know. size: how many symbols; None where only data know.
    vocabulary: the variable whose data make the table of symbols (`V: vocabulary(x)`), itself by default.
    categories: a label set: no unknown symbol, every label counts. required: observed or given, not a latent
    that some examples label. modelled: observed, so that the likelihood is of it (given values are conditioned on).
    batched: False for a given value outside the batch plate. tree: what the labels of a tree's words are.
    sites: how many there are along each plate, None where each record has its own number; none at all where nothing is known.
    """

    name: str
    kind: str
    plates: tuple[str, ...]
    event: tuple[int | None, ...] = ()
    size: int | None = None
    vocabulary: str = ""
    categories: bool = False
    required: bool = True
    modelled: bool = True
    batched: bool = True
    tree: str | None = None
    sites: tuple[int | None, ...] = ()


@dataclass(frozen=True)
class BatchLayout:
    """The fields of a batch, the plates they share, and the sizes that data decide: (size, source, of). hidden: the latents that
    no data label."""

    fields: tuple[Field, ...]
    plates: tuple[Plate, ...]
    sizes: tuple[tuple[str, str, str], ...]
    hidden: tuple[Field, ...] = ()

    def field(self, name: str) -> Field:
        return next(f for f in self.fields if f.name == name)

    def ragged(self, field: Field) -> tuple[tuple[int, Plate], ...]:
        """(axis within one example, plate) for each ragged plate of a field."""
        plates = {p.name: p for p in self.plates}
        return tuple((i, plates[n]) for i, n in enumerate(field.plates) if plates[n].ragged)

    def along(self, names: Iterable[str]) -> tuple[Plate, ...]:
        """The plates with these names."""
        plates = {p.name: p for p in self.plates}
        return tuple(plates[name] for name in names)

    def nested(self, field: Field) -> bool:
        """Whether each site of the field's first plate has a number of sites of the second one of its own."""
        return any(axis == 1 and plate.within == field.plates[0] for axis, plate in self.ragged(field))

    def end(self, field: Field) -> str | None:
        """The end symbol of the sequence that the field runs along."""
        return next((p.end for _, p in self.ragged(field) if p.end), None)

    def null(self, field: Field) -> bool:
        """Whether site 0 of the sequence that the field runs along stands for nothing."""
        return any(p.null for _, p in self.ragged(field))


FIELDS = ("given", "latent", "observed")
_KINDS = {"integer": "symbol", "boolean": "binary", "count": "count"}


def layout_of(spec: Spec) -> BatchLayout:
    """Observed and given variables, and the latents that the data section labels."""
    labelled = set(data_settings(spec.data))
    from_data = {s.name: s for s in spec.sizes if s.of is not None}
    fields = {v.name: _field(spec, v, from_data) for v in spec.variables if v.role in FIELDS}
    hidden = {v.name for v in spec.of_role("latent")} - labelled
    sizes = tuple((s.name, s.source, s.of) for s in spec.sizes if s.of is not None)
    return BatchLayout(
        tuple(f for name, f in fields.items() if name not in hidden),
        spec.plates,
        sizes,
        tuple(f for name, f in fields.items() if name in hidden),
    )


def _field(spec: Spec, variable: Variable, from_data: dict) -> Field:
    nominal, ragged = spec.nominal(), {p.name for p in spec.plates if p.ragged}
    fixed = {p.name: p.extent for p in spec.plates if p.kind == "fixed"}
    support, kind = variable.type.support, _KINDS.get(variable.type.support.kind, "real")
    source = from_data.get(_only_name(support.size)) if support.size is not None else None
    is_label = variable.classes or variable.role == "latent" or not ragged & set(variable.plates)
    return Field(
        name=variable.name,
        kind=kind,
        plates=variable.plates,
        event=tuple(_known(d, from_data, nominal) for d in variable.type.shape),
        size=None if support.size is None or source else _known(support.size, from_data, nominal),
        vocabulary=source.of if source else variable.name,
        categories=source.source == "categories" if source else is_label,
        required=variable.role != "latent",
        modelled=variable.role == "observed",
        batched=not variable.outside_batch,
        tree=tree_labels(variable),
        sites=tuple(_known(fixed[p], from_data, nominal) if p in fixed else None for p in variable.plates),
    )


def tree_labels(variable: Variable) -> str | None:
    """What the labels of a tree's words are (train/data/tree_labels.py), where the variable is such a tree."""
    structure = structure_of(variable)
    return structure.labels or None if structure is not None else None


def _only_name(dim: Dim) -> str | None:
    """`V`, where a size is just that."""
    return (
        next((names[0] for names, c in dim.terms if len(names) == 1 and c == 1), None) if len(dim.terms) == 1 else None
    )


def _known(dim: Dim, from_data: dict, nominal: dict[str, int]) -> int | None:
    names = {n for monomial, _ in dim.terms for n in monomial}
    return None if names & set(from_data) or not names <= set(nominal) else dim.evaluate(nominal)
