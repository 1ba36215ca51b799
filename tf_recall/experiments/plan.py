"""Which arm a user is in, of every experiment, and what answers them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from tf_recall.experiments.hashing import buckets_of

NOBODY = -1  # the arm of a bucket that no arm claims
HOLDOUT = "holdout"
HELD_OUT, OTHERS = "held_out", "others"
REVERSE, ROLLED_OUT = "reverse", "rolled_out"


@dataclass(frozen=True)
class Target:
    """What answers a request for a model.

    Args:
        model: its name; None: the model asked for.
        version: its version; None: as the plan's `models` has it, else the newest.
        merge: of several channels another merge, a part; None: the model's own.
    """

    model: str | None = None
    version: int | None = None
    merge: dict | None = None


@dataclass(frozen=True)
class Assigned:
    """A user's arm in an experiment, as replies and logs tell it."""

    layer: str
    bucket: int
    experiment: str
    arm: str


@dataclass(frozen=True, eq=False)
class Experiment:
    """Arms that share the buckets of a layer.

    Args:
        name: of the experiment.
        layer: whose buckets these are.
        salt: of the layer's hash.
        arms: what answers each of them, by name; the first is what others are compared with.
        table: `[num_buckets]`, the number of the arm that has a bucket; -1 for none.
        model: whose requests it decides; None: none, it is for other systems.
        start, end: when it runs; None: without a beginning or an end.
    """

    name: str
    layer: str
    salt: str
    arms: dict[str, Target]
    table: np.ndarray
    model: str | None = None
    start: datetime | None = None
    end: datetime | None = None

    def runs(self, at: datetime) -> bool:
        """Whether it runs at a moment; at its end it does not any more."""
        return (self.start is None or self.start <= at) and (self.end is None or at < self.end)

    def meets(self, other: "Experiment") -> bool:
        """Whether there is a moment at which both run."""
        starts = [each.start for each in (self, other) if each.start is not None]
        ends = [each.end for each in (self, other) if each.end is not None]
        return not starts or not ends or max(starts) < min(ends)

    def arms_of(self, ids: Any) -> np.ndarray:
        """The arm of each user as a text, `[n]` of objects; "" for none."""
        return self._names[self.table[buckets_of(ids, self.salt, len(self.table))]]

    def assigned(self, user_id: Any) -> Assigned | None:
        """The arm of one user; None for none."""
        bucket = int(buckets_of([user_id], self.salt, len(self.table))[0])
        arm = self._names[self.table[bucket]]
        return Assigned(self.layer, bucket, self.name, arm) if arm else None

    @property
    def shares(self) -> dict[str, float]:
        """Which share of the layer each arm has."""
        counts = [np.count_nonzero(self.table == number) for number in range(len(self.arms))]
        return {arm: float(n / len(self.table)) for arm, n in zip(self.arms, counts, strict=True)}

    @property
    def _names(self):
        return np.array([*self.arms, ""], dtype=object)  # -1 is the last


@dataclass(frozen=True)
class Decision:
    """What answers a user, and the arms that say so."""

    target: Target
    assigned: tuple[Assigned, ...] = ()


@dataclass(frozen=True, eq=False)
class Plan:
    """All experiments of a file, and who is in which.

    A request for a model by a user is decided by the first of these that has a say:

    1. the *hold-out*: a share of all users, drawn by a salt of its period, whom no experiment and
       no roll-out reaches. They get what `models` says, and show what all launches together did.
    2. the *reverse bucket* of a roll-out of this model: a share that keeps the old behavior, to
       see in the long run what the launch did.
    3. the experiment on this model that has the user's bucket in its layer.
    4. the newest roll-out of this model: what all others get, the last in the file.
    5. what `models` says, else the newest version.

    So who is held out, or in a reverse bucket, is in no experiment on that model.

    To renew the hold-out, give `models` what has been rolled out meanwhile, pin what each reverse
    bucket keeps, and write another `period`: who is held out is drawn anew, of those before only
    as many again as chance has it (a tenth of a tenth). On that day the released see all launches
    at once, and both groups begin alike: leave a few days out of what is measured, and look first
    that nothing differs between them.

    Args:
        num_buckets: of every layer.
        models: what answers who is in no arm, by model.
        experiments: by name.
        rollouts: by name, the newest last; their arms are "reverse" and "rolled_out".
        holdout: its arms are "held_out" and "others"; None: nobody is held out.

    Example:
        >>> plan = read_plan("experiments.yaml")
        >>> plan.arms_of("wider", ["u1", "u2", "u3"]).tolist()
        ['control', 'wider', 'control']
        >>> target = plan.decide("two_tower", "u1").target
    """

    num_buckets: int
    models: dict[str, Target]
    experiments: dict[str, Experiment]
    rollouts: dict[str, Experiment]
    holdout: Experiment | None = None

    def decide(self, model: str, user_id: Any, at: datetime | None = None) -> Decision:
        """What answers a user who asks a model, and why.

        Args:
            model: the model asked for; one that the plan does not name is nobody's experiment.
            user_id: a string or an integer.
            at: the moment, with its time zone; None: now.
        """
        at = at or datetime.now(UTC)
        decided = self._base(model)
        if model not in self.models:
            return Decision(decided)
        if self._is_held_out(user_id):
            return Decision(decided, (self.holdout.assigned(user_id),))
        assigned = []
        for rollout in self._of(self.rollouts, model, at):
            assigned.append(rollout.assigned(user_id))
            decided = self._resolved(model, rollout.arms[assigned[-1].arm])
            if assigned[-1].arm == REVERSE:
                return Decision(decided, tuple(assigned))
        for experiment in self._of(self.experiments, model, at):
            if found := experiment.assigned(user_id):
                assigned.append(found)
                decided = self._resolved(model, experiment.arms[found.arm])
        return Decision(decided, tuple(assigned))

    def assign(self, user_id: Any, at: datetime | None = None) -> dict[str, Any]:
        """All arms of a user at a moment, as plain values: of each model, and of other systems."""
        at = at or datetime.now(UTC)
        assigned, answers = [], {}
        for model in self.models:
            decision = self.decide(model, user_id, at)
            given = vars(decision.target)
            answers[model] = {key: each for key, each in given.items() if each is not None}
            assigned += [each for each in decision.assigned if each not in assigned]
        if not self._is_held_out(user_id):
            others = self._of(self.experiments, None, at)
            assigned += [found for each in others if (found := each.assigned(user_id))]
        elif not assigned:
            assigned = [self.holdout.assigned(user_id)]
        return {"assigned": [vars(each) for each in assigned], "models": answers}

    def find(self, name: str) -> Experiment:
        """An experiment, a roll-out or, as "holdout", the hold-out by its name.

        Raises:
            ValueError: there is none of this name.
        """
        known = {**self.experiments, **self.rollouts}
        if self.holdout is not None:
            known[HOLDOUT] = self.holdout
        if name not in known:
            raise ValueError(f"there is no experiment {name!r}; there are: {', '.join(known)}")
        return known[name]

    def arms_of(self, name: str, ids: Any) -> np.ndarray:
        """The arm of each user in an experiment, `[n]` of objects; "" for who takes no part.

        Whoever is held out, or in the reverse bucket of a roll-out that runs at some time of the
        experiment, takes no part: their chance to do so is the same in every arm.

        Args:
            name: as of `find`.
            ids: strings or integers.
        """
        experiment = self.find(name)
        arms = experiment.arms_of(ids)
        if experiment is self.holdout:
            return arms
        if self.holdout is not None:
            arms[self.holdout.arms_of(ids) == HELD_OUT] = ""
        for rollout in self.rollouts.values():
            if rollout is experiment:
                break  # a later one's reverse bucket gets what this one rolled out
            if rollout.model == experiment.model and rollout.meets(experiment):
                arms[rollout.arms_of(ids) == REVERSE] = ""
        return arms

    def targets(self) -> Iterator[tuple[str, Target]]:
        """All that may answer, each with the key of the file that says so."""
        for model in self.models:
            yield f"models.{model}", self._base(model)
        for each in [*self.experiments.values(), *self.rollouts.values()]:
            for arm, target in each.arms.items():
                if each.model is not None:
                    yield f"{each.name}.{arm}", self._resolved(each.model, target)

    def _is_held_out(self, user_id):
        return self.holdout is not None and self.holdout.assigned(user_id).arm == HELD_OUT

    def _of(self, experiments, model, at):
        return [each for each in experiments.values() if each.model == model and each.runs(at)]

    def _base(self, model):
        base = self.models.get(model, Target())
        return Target(model, base.version, base.merge)

    def _resolved(self, model, target):
        """What an arm says, and of its model, where it says nothing, what `models` does."""
        base = self._base(target.model or model)
        return Target(base.model, target.version or base.version, target.merge or base.merge)
