"""Stochastic gradient steps on the mean loss of a batch, with validation, early stopping and checkpoints.

The order of the data is a function of (seed, epoch), and a checkpoint holds everything else that the next step
depends on: a resumed run takes the very steps that an uninterrupted one would have taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from lvspec.emitted import CompiledSpec, EmittedModel
from lvspec.errors import TrainingError
from lvspec.train.data.batches import collate, epoch_order, sorted_order
from lvspec.train.data.dataset import Dataset
from lvspec.train.diagnosis.blame import blame
from lvspec.train.diagnosis.noise import gradient_noise
from lvspec.train.diagnosis.usage import usage
from lvspec.train.em.closed_forms import ClosedForms
from lvspec.train.em.expectation_maximisation import ExpectationMaximisation
from lvspec.train.loop.alternation import Turn, alternation
from lvspec.train.loop.interrupt import asked_to_stop
from lvspec.train.loop.optimise import (
    PLATEAU_FACTOR,
    PLATEAU_PATIENCE,
    clip_gradient,
    gradient_norm,
    make_optimizer,
    rate_factor,
    set_rate,
)
from lvspec.train.run import checkpoints
from lvspec.train.run.checkpoints import Checkpoint, CheckpointStore
from lvspec.train.scoring.score import EVALUATION_SEED, first_not_finite, prepared, score
from lvspec.train.scoring.trace import Generators, Taken
from lvspec.train.settings import TrainSettings

LOG_EVERY = 20  # steps between two lines of training metrics


@dataclass
class Progress:
    """Where the loop stands. position: batches done in this epoch. best: the best validation, in nats per example.
    waited: validations since. waited_rate, plateau: the same for the learning rate, and its factor.
    information: between data and latents, when last looked at; together: whether aggressive training is over."""

    step: int = 0
    epoch: int = 0
    position: int = 0
    best: float = -math.inf
    best_step: int = 0
    waited: int = 0
    waited_rate: int = 0
    plateau: float = 1.0
    validated_at: int = -1
    information: float | None = None
    together: bool = False


@dataclass(frozen=True)
class Event:
    """What happened, for whoever shows it. kind: start | step | valid | stop."""

    kind: str
    progress: Progress
    total: int
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """A model, its data, how to train it, and where its checkpoints and metrics go (store; None: nowhere).
    forms: the closed forms of EM's M step, where the settings ask for EM. turns: of a round, where not all
    parameters move together. compiled: what diagnostics speak of; None: nothing."""

    model: EmittedModel
    train: Dataset
    valid: Dataset | None
    settings: TrainSettings
    device: torch.device
    store: CheckpointStore | None = None
    report: Callable[[Event], None] = lambda event: None
    forms: ClosedForms | None = None
    turns: tuple[Turn, ...] = ()
    compiled: CompiledSpec | None = None


class Training:
    """One run of the loop: `Training(job).run()`, or after `.resume()`."""

    def __init__(self, job: Job):
        self.job = job
        self.settings = job.settings
        self.model = job.model.to(job.device)
        self.optimizer = make_optimizer(self.model, job.settings)
        self.alternation = alternation(self.model, job.turns, job.train, job.settings.seed)
        self.progress = Progress()
        self.orders: dict[int, list] = {}
        self.total = self._total()
        self.since_log: list[dict[str, Any]] = []  # rows of the steps since the last line of metrics

    def _order(self) -> list:
        """This epoch's batches; only the current epoch is kept."""
        epoch = self.progress.epoch
        if epoch not in self.orders:
            self.orders = {epoch: epoch_order(self.job.train, self.settings, epoch)}
        return self.orders[epoch]

    def _total(self) -> int:
        """How many steps the whole run has (with a budget of sites: as many as the first epoch suggests)."""
        if not len(self.job.train):
            raise TrainingError("no example to train on")
        whole = self.settings.epochs * (1 if self.job.forms else len(self._order()))
        return whole if self.settings.steps is None else min(whole, self.settings.steps)

    def resume(self, found: Checkpoint) -> None:
        """Go on from a checkpoint as if nothing had happened."""
        checkpoints.restore_training(self.model, self.optimizer, found)
        self.progress = Progress(**{**found.state["progress"], "best": _number(found.state["progress"]["best"])})
        self.since_log = list(found.state["rows"])

    def run(self) -> Progress:
        """Train to the end. KeyboardInterrupt after saving where the user has asked to stop."""
        self.model.train()
        self._report("start", {})
        with asked_to_stop() as stopping:
            take_step = self._em_step if self.job.forms else self._step
            while not self._finished():
                take_step()
                if self._validation_due():
                    self._validate()
                if stopping():
                    self._save(best=False)
                    raise KeyboardInterrupt
        if self.progress.validated_at != self.progress.step:
            self._validate()
        if self.job.store and self.since_log:
            self.job.store.metrics.append(self._mean_row())
            self.job.store.close()
        self._report("stop", {"best": self.progress.best, "best_step": self.progress.best_step})
        return self.progress

    def _finished(self) -> bool:
        p, s = self.progress, self.settings
        early = s.patience > 0 and p.waited >= s.patience
        return early or p.epoch >= s.epochs or (s.steps is not None and p.step >= s.steps)

    def _step(self) -> None:
        """One gradient step on the next batch, after the others of a round where only some parameters move at a time."""
        p, order = self.progress, self._order()
        rate = self.settings.learning_rate * p.plateau * rate_factor(self.settings, p.step, self.total)
        set_rate(self.optimizer, rate)
        moving = None
        if self.alternation and not p.together:
            self.alternation.lead(order, p.step, self._move)
            moving = self.alternation.moving[-1]
        loss, norm = self._move(order[p.position], moving)
        epoch = p.epoch
        self._advance(len(order))
        row: dict[str, Any] = {"step": p.step, "epoch": epoch, "loss": loss, "grad_norm": norm, "learning_rate": rate}
        self._log(row)

    def _move(self, rows, parameters) -> tuple[float, float]:
        """A step of these parameters (None: of all) on a batch: its loss and gradient norm; nothing is changed where they are
        not finite."""
        self._tell_step()
        batch = prepared(self.model, collate(self.job.train, rows), self.job.device)
        self.optimizer.zero_grad(set_to_none=True)
        taken = Taken(self.model, self.job.compiled, batch, Generators(self.job.device), rows)
        objective = self.model(batch)
        loss = objective.loss.item()
        if not math.isfinite(loss):
            raise self._lost(taken, objective)
        if objective.loss.requires_grad:  # a model of shared factors alone has no parameters
            objective.loss.backward(inputs=parameters)
        norm = gradient_norm(self.model)
        if not math.isfinite(norm.item()):
            raise self._lost(taken, objective)
        clip_gradient(self.model, norm, self.settings.clip)
        self.optimizer.step()
        if hasattr(self.model, "ascend"):
            share = (self.progress.step + self.settings.delay) ** -self.settings.forgetting
            self.model.ascend(batch, share, objective.factors)
        return loss, norm.item()

    def _em_step(self) -> None:
        """One step of EM on all of the training data: an epoch."""
        p, s = self.progress, self.settings
        assert self.job.forms is not None
        em = ExpectationMaximisation(self.model, self.job.forms, s.method, s.pseudo_count)
        rows = sorted_order(self.job.train, s)
        found = em.step(prepared(self.model, collate(self.job.train, r), self.job.device) for r in rows)
        if not math.isfinite(found.log_prob):
            raise self._not_scored(f"step {p.step + 1}", self.job.train, "training")
        epoch = p.epoch
        self._advance(1)
        self._log({"step": p.step, "epoch": epoch, "loss": -found.log_prob / found.examples})

    def _advance(self, batches_in_epoch: int) -> None:
        p = self.progress
        p.step += 1
        p.position += 1
        if p.position == batches_in_epoch:
            p.epoch, p.position = p.epoch + 1, 0
        self._tell_step()

    def _tell_step(self) -> None:
        """Schedules of the module follow its step."""
        if isinstance(getattr(self.model, "step", None), torch.Tensor):
            self.model.step.fill_(self.progress.step)

    def _lost(self, taken: Taken, objective) -> TrainingError:
        steps = self.job.store.steps() if self.job.store else []
        kept = f"; the last good checkpoint is {steps[-1]}" if steps else ""
        return blame(taken, f"step {self.progress.step + 1}", kept, objective)

    def _log(self, row: dict[str, Any]) -> None:
        """Report a step; every LOG_EVERY of them a line of metrics with the mean loss since the last line."""
        self.since_log.append(row)
        self._report("step", row)
        if self.progress.step % LOG_EVERY == 0:
            if self.job.store:
                self.job.store.metrics.append(self._mean_row())
            self.since_log = []

    def _mean_row(self) -> dict[str, Any]:
        losses = [row["loss"] for row in self.since_log]
        return {**self.since_log[-1], "loss": sum(losses) / len(losses)}

    def _validation_due(self) -> bool:
        every = self.settings.validate_every
        return self.progress.position == 0 if every is None else self.progress.step % every == 0

    def _validate(self) -> None:
        """Score the validation part (the training loss has no say), then save."""
        p = self.progress
        p.validated_at = p.step
        information = self._information()
        if self.job.valid is None or not len(self.job.valid):
            self._save(best=False)
            return
        seed = EVALUATION_SEED + p.step  # fresh draws, so that no step is the best by the luck of one set of them
        result = score(self.model, self.job.valid, self.settings, self.job.device, self.job.compiled, seed)
        if not math.isfinite(result.value):
            self._save(best=False)
            raise self._not_scored(f"validation at step {p.step}", self.job.valid, "validation", seed)
        better = result.value > p.best
        self._count(better, result.value)
        row = {
            "step": p.step,
            "epoch": p.epoch,
            "valid": result.value,
            "kind": result.kind,
            **({} if result.standard_error is None else {"standard_error": result.standard_error}),
            **result.parts,
            **information,
        }
        if self.job.compiled is not None:
            noise = gradient_noise(self.model, self.job.compiled, self.job.valid, self.job.device)
            row |= {f"noise.{name}": found.variance for name, found in noise.items()}
        if self.job.store:
            self.job.store.metrics.append(row)
        self._save(best=better)
        self._report("valid", {**row, "better": better})

    def _information(self) -> dict[str, Any]:
        """Aggressive training is over once the information between data and latents has not risen since the last look.
        A validation that only a run's end calls for is no look: one that goes on from there would have one more."""
        p = self.progress
        if self.settings.inference != "aggressive" or p.together or not self._validation_due():
            return {}
        found = sum(
            u.information for u in usage(self.model, self.job.valid or self.job.train, self.settings, self.job.device)
        )
        p.together, p.information = p.information is not None and found <= p.information, found
        return {"information": found, "aggressive": not p.together}

    def _not_scored(self, when: str, data: Dataset, part: str, seed: int = EVALUATION_SEED) -> TrainingError:
        """The error of a log-likelihood or bound of a whole data set that is no finite number."""
        taken = first_not_finite(self.model, self.job.compiled, data, self.settings, self.job.device, part, seed)
        return TrainingError(f"{when}: the score is not finite") if taken is None else blame(taken, when, "")

    def _count(self, better: bool, value: float) -> None:
        p = self.progress
        if better:
            p.best, p.best_step, p.waited, p.waited_rate = value, p.step, 0, 0
            return
        p.waited, p.waited_rate = p.waited + 1, p.waited_rate + 1
        if self.settings.schedule == "plateau" and p.waited_rate >= PLATEAU_PATIENCE:
            p.plateau, p.waited_rate = p.plateau * PLATEAU_FACTOR, 0

    def _save(self, best: bool) -> None:
        if self.job.store is None:
            return
        progress = {**asdict(self.progress), "best": _text(self.progress.best)}
        state: dict[str, Any] = {"progress": progress, "rows": self.since_log}
        self.job.store.save(self.progress.step, checkpoints.gather(self.model, self.optimizer, state), best=best)

    def _report(self, kind: str, numbers: dict[str, Any]) -> None:
        self.job.report(Event(kind, replace(self.progress), self.total, numbers))


def _text(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return -math.inf if value is None else value
