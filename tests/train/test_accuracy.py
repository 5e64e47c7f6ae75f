"""Predictions held against labels: counted by hand, and never with the labels in sight of the model."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lvspec.ir.spec import Plate
from lvspec.train.data.batches import collate
from lvspec.train.data.dataset import encoded
from lvspec.train.data.fitting import fitted
from lvspec.train.data.layout import BatchLayout, Field
from lvspec.train.evaluation.accuracy import Accuracy, accuracy, gold_labels, most_frequent
from lvspec.train.evaluation.posteriors import Inferred, Latent, posteriors
from lvspec.train.settings import TrainSettings

WORDS = Field("x", "symbol", ("t",), vocabulary="x", modelled=False)
TAGS = Field("z", "symbol", ("t",), vocabulary="z", categories=True, required=False, modelled=False)
LAYOUT = BatchLayout((WORDS, TAGS), (Plate("t", "sequence"),), ())
RECORDS = [{"x": "a b c", "z": ["P", "Q", None]}, {"x": "b", "z": ["Q"]}, {"x": "c c", "z": None}]


def data(records=RECORDS, layout=LAYOUT):
    encoders = fitted(records, layout, {})
    return encoded(records, layout, encoders, {}), encoders["z"]


def modes(*rows):
    return [Inferred(i, {"z": np.array(row)}, {}, {}, {}) for i, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("found", "counted"),
    [
        (([0, 1, 1], [1], [0, 0]), Accuracy(labels=3, right=3, examples=2, whole=2)),
        (([0, 0, 0], [1], [1, 1]), Accuracy(labels=3, right=2, examples=2, whole=1)),
        (([1, 0, 1], [0], [1, 1]), Accuracy(labels=3, right=0, examples=2, whole=0)),
    ],
)
def test_sites_and_examples_without_labels_count_nowhere(found, counted):
    dataset, encoder = data()
    assert accuracy(modes(*found), "z", dataset, encoder) == counted


def test_most_frequent_label_is_that_of_the_training_data():
    dataset, encoder = data()
    label, found = most_frequent("z", dataset, encoder)
    assert label == "Q" and found == Accuracy(labels=3, right=2, examples=2, whole=1)


def test_labels_that_training_never_saw_are_never_right():
    dataset, encoder = data(layout=replace(LAYOUT, fields=(WORDS, replace(TAGS, categories=False))))
    assert encoder.symbols == ("<unk>", "Q", "P")
    held_out = encoded([{"x": ["Q", "Q"], "z": ["R", "Q"]}], dataset.layout, {"x": encoder, "z": encoder}, {})
    assert accuracy(modes([0, 1]), "z", held_out, encoder) == Accuracy(labels=2, right=1, examples=1, whole=0)


def test_padding_of_nested_sequences_holds_no_label():
    plates = (Plate("d", "sequence"), Plate("t", "sequence", within="d"))
    layout = BatchLayout((replace(WORDS, plates=("d", "t")), replace(TAGS, plates=("d", "t"))), plates, ())
    dataset, encoder = data([{"x": [["a", "b"], ["c"]], "z": [["P", None], ["P"]]}], layout)
    gold, seen = gold_labels(dataset, 0, "z")
    assert gold.shape == (2, 2) and seen.tolist() == [[True, False], [True, False]]
    assert accuracy(modes([[0, 0], [0, 0]]), "z", dataset, encoder).labels == 2


def test_hidden_labels_are_absent_and_lengths_are_kept():
    dataset, _ = data()
    shown, hidden = collate(dataset, [0, 1, 2]), collate(dataset.hiding(["z"]), [0, 1, 2])
    assert shown["z_observed"].any() and shown["z"].any()
    assert hidden["z_observed"].shape == hidden["z"].shape == (3, 3)
    assert not hidden["z_observed"].any() and not hidden["z"].any()
    assert hidden["t"].tolist() == [3, 1, 2] and torch.equal(hidden["x"], shown["x"])
    assert dataset.examples[0].values["z"].tolist() == [0, 1, 0]  # the data themselves keep them


def test_a_model_that_would_copy_labels_is_not_shown_any():
    """Where it sees a label it answers with the label; elsewhere with 0."""

    class Copying(torch.nn.Module):
        def posterior(self, batch):
            mode = torch.where(batch["z_observed"], batch["z"], 0)
            return {"z": SimpleNamespace(mode=mode, marginals=torch.nn.functional.one_hot(mode, 2).float())}

    dataset, encoder = data()
    latent = Latent("z", 2, ((0, "t"),))

    def right(seen):
        inferred = list(posteriors(Copying(), seen, (latent,), TrainSettings(), torch.device("cpu")))
        return accuracy(inferred, "z", dataset, encoder).right

    assert (right(dataset), right(dataset.hiding(["z"]))) == (3, 1)


def test_probability_is_that_of_the_mode_at_each_site():
    marginals = np.array([[0.2, 0.8], [0.6, 0.4]])
    one = Inferred(0, {"z": np.array([1, 1])}, {"z": marginals}, {}, {})
    assert one.probability("z").tolist() == [0.8, 0.4]
