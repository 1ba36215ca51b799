"""A trained model as one of several channels."""

from dataclasses import replace

from tf_recall.config import Config
from tf_recall.runs.model import fit, serve


class TrainedChannel:
    """A channel that is trained: a model's settings, of another config or written out, on the data
    of all channels.

    Args:
        config: a config to go by, a YAML file or a name that comes with the package; its data and
            split are not used.
        model: `{name: ..., **arguments}`; where `config` has the same model, its arguments are
            changed by these.
        train: how to train, as `Train`; what is not said is as in `config`.
        index: as in a config of one model.

    Raises:
        ValueError: neither a config nor a model.

    Example (YAML):
        two_tower: {name: trained, config: two_tower_movielens, train: {epochs: 10}}
    """

    def __init__(
        self,
        config: str | None = None,
        model: dict | None = None,
        train: dict | None = None,
        index: dict | None = None,
    ):
        if config is None and model is None:
            raise ValueError("a trained channel needs a config to go by, or a model")
        self.config, self.model, self.train, self.index = config, model, train, index

    def settings(self, whole: Config, name: str) -> Config:
        """The config of this channel alone, among those of `whole`, under a name."""
        base = (
            Config.load(self.config).to_dict()
            if self.config
            else {"model": {}, "train": {}, "index": None}
        )
        model = dict(self.model or {})
        if model.get("name", base["model"].get("name")) == base["model"].get("name"):
            model = {**base["model"], **model}
        values = {
            "model": model,
            "train": {**base["train"], **(self.train or {})},
            "index": self.index or base["index"],
        }
        part = Config.from_dict({"data": whole.data, "split": whole.split, **values, "name": name})
        return replace(part, evaluate=whole.evaluate, k_max=whole.k_max)

    def fit(
        self, whole: Config, name: str, split, catalog, checkpoints, resume=False, tensorboard=None
    ):
        """Trains; the service and the model."""
        config = self.settings(whole, name)
        model = fit(config, split, catalog, checkpoints, resume, tensorboard)
        return serve(config, model, catalog), model
