"""Which records are for training, for stopping and for the figure: given files, splits inside an npz, or a fixed hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from lvspec.errors import TrainingError, UsageError
from lvspec.train.data.dataset import Raw, halves, held_out
from lvspec.train.data.readers import format_of, located, read, reader_of
from lvspec.train.files import file_hash
from lvspec.train.settings import DataSettings

PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class Files:
    """Paths as the user gave them. split_dev: the even half of the validation file (by hash) is for stopping,
    the odd half is the test part."""

    train: str
    valid: str | None = None
    test: str | None = None
    split_dev: bool = False

    def hashes(self) -> dict[str, str]:
        return {k: file_hash(Path(v)) for k, v in asdict(self).items() if isinstance(v, str)}

    def file_of(self, part: str) -> str:
        """Which of the files the records of a part come from: train, valid or test."""
        if part == "test" and self.test is not None:
            return "test"
        return "valid" if self.valid is not None and (part == "valid" or self.split_dev and part == "test") else "train"


def unchanged_records(
    files: Files, part: str, wanted: Mapping[str, DataSettings], hashes: Mapping[str, str]
) -> list[Raw]:
    """The records of a part, of the very file that a run was made with."""
    source = files.file_of(part)
    records = records_of(files, part, wanted)
    path = getattr(files, source)
    if records and file_hash(Path(path)) != hashes[source]:
        raise UsageError(f"{path}: is not the file that the run was made with; --data {path} takes it as it is")
    return records


def records_of(files: Files, part: str, wanted: Mapping[str, DataSettings]) -> list[Raw]:
    """The raw records of train, valid or test; no test part: an empty list."""
    tenths = _held_out_tenths(files, wanted)
    if part == "train":
        records: list[Raw] = list(read(Path(files.train), wanted, "train"))
        return _kept(records, tenths, files.train) if tenths else records
    if part == "valid":
        records = _valid(files, wanted, tenths)
        return halves(records)[0] if files.split_dev else records
    if files.test is not None:
        return list(read(Path(files.test), wanted, "test"))
    if files.split_dev:
        return halves(_valid(files, wanted, tenths))[1]
    if _inside(files.train, wanted, "test"):
        return list(read(Path(files.train), wanted, "test"))
    return held_out(list(read(Path(files.train), wanted, "train")), tenths)[1][1] if tenths == 2 else []


def _kept(records: list[Raw], tenths: int, path: str) -> list[Raw]:
    """What is trained on: of a few records, or of equal ones, every one may fall into what is put aside."""
    kept = held_out(records, tenths)[0]
    if records and not kept:
        aside = "the tenth for validation" if tenths == 1 else "the tenths for validation and for the test"
        raise TrainingError(
            f"{path}: all of its records ({len(records)}) fall, by their hash, into {aside}, and none is left to train on: "
            f"`--valid FILE`, which may be the same file, leaves all of them"
        )
    return kept


def _valid(files: Files, wanted, tenths: int) -> list[Raw]:
    if files.valid is not None:
        return list(read(Path(files.valid), wanted, "valid"))
    if _inside(files.train, wanted, "valid"):
        return list(read(Path(files.train), wanted, "valid"))
    return held_out(list(read(Path(files.train), wanted, "train")), tenths)[1][0]


def _held_out_tenths(files: Files, wanted) -> int:
    """How many tenths of the training file are set aside: none where another file or array has the part."""
    if files.valid is not None or _inside(files.train, wanted, "valid"):
        return 0
    return 1 if files.test is not None or files.split_dev or _inside(files.train, wanted, "test") else 2


def _inside(path: str, wanted: Mapping[str, DataSettings], part: str) -> bool:
    """Whether the training file has records of its own for this part."""
    place, settings = Path(path), next(iter(wanted.values()))
    if not place.is_file():
        raise UsageError(f"{path}: no such file")
    kind = reader_of(settings.format or format_of(place))
    return any(kind.has_part(place, s, part) for _, s in located(place, wanted, kind))


def described(files: Files, wanted: Mapping[str, DataSettings]) -> dict[str, str]:
    """In words, where each part comes from."""
    tenths = _held_out_tenths(files, wanted)
    inside = {p: _inside(files.train, wanted, p) for p in ("valid", "test")}
    valid = files.valid or (files.train if inside["valid"] else f"a fixed tenth of {files.train}")
    test = files.test or (files.train if inside["test"] else "")
    if files.split_dev:
        test = test or f"odd half of {valid}"
        valid = f"even half of {valid}"
    if not test and tenths == 2:
        test = f"another fixed tenth of {files.train}"
    return {"train": files.train, "valid": valid, "test": test or "none"}
