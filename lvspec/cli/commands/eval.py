"""`lvspec eval RUN`: held-out figures of a trained model beside a baseline's, each saying what it is."""

from __future__ import annotations

import argparse
from pathlib import Path

from lvspec.cli import terminal
from lvspec.cli.options import at_least
from lvspec.errors import UsageError

ALLOWED = "a package whose networks the run's spec may name"


def add_parser(subparsers) -> None:
    parser = subparsers.add_parser(
        "eval", help="held-out figures of a trained model", description=__doc__.split(": ")[1]
    )
    add_run_options(parser)
    parser.add_argument(
        "--samples",
        type=at_least(0),
        help="draws of each example, for the ELBO and for importance-sampled log p(x) (default 100; 0: none of the latter)",
    )
    parser.add_argument(
        "--gold", metavar="COLUMN", help="compare a latent with these labels (upos, a column) or trees (tree, head)"
    )
    parser.add_argument("--latent", help="which one to compare (default: the first one that it fits)")
    parser.add_argument("--no-punctuation", action="store_true", help="trees: words that are punctuation do not count")
    parser.add_argument("--json", action="store_true", help="the figures as JSON")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="the directory that lvspec train has made")
    parser.add_argument("--data", metavar="FILE", help="default: the run's test part, else its validation part")
    parser.add_argument(
        "--split-dev", action="store_true", help="only the odd half of --data, which training never saw"
    )
    parser.add_argument("--part", choices=("train", "valid", "test"), help="which part of the run's own data")
    parser.add_argument("--checkpoint", default="best", help="best, last, or step-00000100 (default best)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 or auto (default cpu)")
    parser.add_argument("--allow-module", metavar="PACKAGE", action="append", default=[], help=ALLOWED)


def run(args: argparse.Namespace) -> int:
    from lvspec.cli.opened import opened
    from lvspec.train.evaluation.evaluate import evaluate

    _refuse_unread(args)
    trained, part = opened(args)
    figures = evaluate(
        trained.model,
        part.dataset,
        trained.encoders,
        trained.config.train,
        trained.device,
        training=trained.config.examples["train"],
        samples=args.samples,
        compiled=trained.compiled,
    )
    uses, warnings = _usage(trained, part)
    warnings = [found.warning for found in figures.likelihoods if found.warning] + warnings
    rows = figures.rows() + _prior(trained) + _noise(trained, part) + uses + _accuracies(trained, part)
    if args.gold:
        rows.extend(_gold(args, trained, part))
    about = {
        "run": str(Path(args.run)),
        "data": part.name,
        "step": trained.step,
        "examples": figures.examples,
        "dropped": part.dataset.dropped,
        "tokens": figures.tokens,
        "dimensions": figures.dimensions,
    }
    if args.json:
        terminal.show_json({**about, "figures": rows, "warnings": warnings})
        return 0
    terminal.show("\n".join(_table(about, rows)))
    for warning in warnings:
        terminal.say(f"warning: {warning}")
    return 0


def _refuse_unread(args: argparse.Namespace) -> None:
    """What says how labels are compared, where nothing is compared with labels."""
    given = [o for o, said in (("--latent", args.latent), ("--no-punctuation", args.no_punctuation)) if said]
    if given and not args.gold:
        raise UsageError(f"{given[0]} says how --gold is compared; say --gold COLUMN, too, or leave it out")


def _prior(trained) -> list[dict[str, object]]:
    """log p of the parameters that have priors."""
    priors = trained.compiled.spec.priors
    if not priors:
        return []
    how = f"log p({', '.join(priors)}), once a data set, in no other figure"
    return [{"quantity": "log prior", "unit": "nats", "value": float(trained.model.log_prior().detach()), "how": how}]


def _noise(trained, part) -> list[dict[str, object]]:
    """The gradient's variance at each latent that is drawn."""
    from lvspec.train.diagnosis.noise import EXAMPLES, REPEATS, gradient_noise

    return [
        {
            "quantity": "gradient variance",
            "unit": "",
            "value": found.variance,
            "how": f"of what q({name} | x) is given, {REPEATS} gradients of {EXAMPLES} examples; squared mean {found.signal:.4g}",
        }
        for name, found in gradient_noise(trained.model, trained.compiled, part.dataset, trained.device).items()
    ]


def _usage(trained, part) -> tuple[list[dict[str, object]], list[str]]:
    """Mutual information and active units of each latent, and a warning where one says nothing about the data."""
    from lvspec.train.diagnosis.usage import remedies, usage

    rows, warnings = [], []
    spec, settings = trained.compiled.spec, trained.config.train
    for found in usage(trained.model, part.dataset, settings, trained.device):
        how = f"of x and {found.name} under q, {found.examples} examples"
        rows.append({"quantity": "information", "unit": "nats", "value": found.information, "how": how})
        if found.units and found.active is not None:
            how = f"entries of {found.name} whose mean moves with x, of {found.units}"
            rows.append({"quantity": "active units", "unit": "", "value": float(found.active), "how": how})
        if found.collapsed:
            warnings.append(
                f"posterior collapse: {found.name} says next to nothing about the data "
                f"({found.information:.3f} nats); remedies: {', '.join(remedies(spec, found.name, settings))}"
            )
    return rows, warnings


def _accuracies(trained, part) -> list[dict[str, object]]:
    """Latents that the data label, predicted without their labels; beside them, the same label everywhere."""
    from lvspec.cli.opened import sizes_of
    from lvspec.train.data.encoders import Symbols
    from lvspec.train.evaluation.accuracy import accuracy, labelled, most_frequent
    from lvspec.train.evaluation.posteriors import latents_of, posteriors

    names = labelled(trained.layout)
    latents = latents_of(trained.compiled.spec, sizes_of(trained))
    rows: list[dict[str, object]] = []
    for latent in (z for z in latents if z.name in names and z.discrete):
        encoder = trained.encoders[latent.name]
        hidden = part.dataset.hiding(names)
        inferred = list(posteriors(trained.model, hidden, (latent,), trained.config.train, trained.device))
        found = accuracy(inferred, latent.name, part.dataset, encoder)
        rows += _shares(found, f"mode of {latent.name}, labels hidden ({found.labels} labels)", bool(latent.ragged))
        if latent.ragged:  # the best labelling as a whole need not have the best label at each site
            found = accuracy(inferred, latent.name, part.dataset, encoder, by="marginals")
            rows += _shares(found, f"most probable {latent.name} of each site, labels hidden", False)
        if isinstance(encoder, Symbols):
            label, base = most_frequent(latent.name, part.dataset, encoder)
            rows += _shares(base, f"{label} everywhere, as {latent.name} of the training data most often is", False)
    return rows


def _shares(found, how: str, sequences: bool) -> list[dict[str, object]]:
    """An accuracy as rows: of labels, and of examples where they have several. Without any label, nothing."""
    shares = [("of labels", found.right, found.labels)]
    if sequences:
        shares.append(("of sequences", found.whole, found.examples))
    return [{"quantity": "accuracy", "unit": u, "value": k / n, "how": how} for u, k, n in shares if n]


def _gold(args: argparse.Namespace, trained, part) -> list[dict[str, object]]:
    """Labels against the mode of a discrete latent; trees against the best ones of a hidden structure."""
    from lvspec.cli.opened import compared
    from lvspec.train.evaluation.accuracy import labelled
    from lvspec.train.evaluation.posteriors import posteriors

    latent = compared(trained, args.latent, args.gold)
    hidden = part.dataset.hiding(labelled(trained.layout))
    inferred = posteriors(trained.model, hidden, (latent,), trained.config.train, trained.device, marginals=False)
    if latent.structure == "spans" or latent.tree == "ends":
        return _constituents(args, inferred, latent, part)
    if "heads" in (latent.structure, latent.tree):
        return _dependencies(args, inferred, latent, part)
    if args.no_punctuation:
        raise UsageError(f"--no-punctuation is about trees; {latent.name} is none, and all its labels count")
    return _clusters(args, inferred, latent, part, trained)


def _clusters(args: argparse.Namespace, inferred, latent, part, trained) -> list[dict[str, object]]:
    from dataclasses import asdict

    from lvspec.train.evaluation.gold import compare

    limits = [s.max_length for s in trained.config.data.values() if s.max_length is not None]
    found = asdict(compare(inferred, latent, part.dataset, part.gold(args.gold), min(limits, default=None)))
    counts = {k: found.pop(k) for k in ("clusters", "labels", "items")}
    how = f"mode of {latent.name} against {args.gold} ({counts['clusters']} clusters, {counts['labels']} labels, {counts['items']} items)"
    return [{"quantity": k, "unit": "", "value": v, "how": how} for k, v in found.items()]


def _constituents(args: argparse.Namespace, inferred, latent, part) -> list[dict[str, object]]:
    from lvspec.train.evaluation.parses import compare_spans

    scores = compare_spans(inferred, latent, part.dataset, part.gold(args.gold), not args.no_punctuation)
    rows = []
    for name, f1 in scores.items():
        how = f"mode of {latent.name} against {args.gold} ({f1.sentences} sentences)" if name == "found" else name
        rows.append({"quantity": "sentence F1", "unit": "unlabelled", "value": f1.sentence, "how": how})
        rows.append({"quantity": "corpus F1", "unit": "unlabelled", "value": f1.corpus, "how": how})
    return rows


def _dependencies(args: argparse.Namespace, inferred, latent, part) -> list[dict[str, object]]:
    from lvspec.train.evaluation.parses import compare_heads

    tags = part.gold("upos") if args.no_punctuation else None
    scores = compare_heads(inferred, latent, part.dataset, part.gold(args.gold), tags)
    rows = []
    for name, found in scores.items():
        how = f"mode of {latent.name} against {args.gold} ({found.words} words)" if name == "found" else name
        for quantity, right in (("directed", found.directed), ("undirected", found.undirected)):
            share = right / found.words if found.words else 0.0
            rows.append({"quantity": quantity, "unit": "of words", "value": share, "how": how})
    return rows


def _table(about: dict, rows: list[dict]) -> list[str]:
    size = (
        f"{about['tokens']} tokens"
        if about["tokens"]
        else f"{about['dimensions']} numbers"
        if about["dimensions"]
        else ""
    )
    lines = [
        f"{about['data']}: {about['examples']} examples{', ' + size if size else ''} (checkpoint of step {about['step']})"
    ]
    for row in rows:
        extra = ""
        if row.get("standard_error") is not None:
            extra = f" ± {row['standard_error']:.4f}"
        if row.get("effective") is not None:
            extra += f", effective sample size {row['effective']:.1f}"
        value = f"{row['value']:.4f}" if abs(row["value"]) < 1e7 else f"{row['value']:.4g}"
        lines.append(f"  {row['quantity']:<16}{value:>14} {row['unit']:<18}{row['how']}{extra}")
    return lines
