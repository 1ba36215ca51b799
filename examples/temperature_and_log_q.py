"""How temperature and log q change accuracy, coverage and popularity: a plot.

    python examples/temperature_and_log_q.py                        # 100k, by tensorflow-datasets
    python examples/temperature_and_log_q.py --manual-dir FOLDER    # latest-small, from its zip
    python examples/temperature_and_log_q.py --smoke                # a planted world: no network

The same two towers are trained at each temperature, with log q (`SampledSoftmax`) and without
(`UncorrectedSoftmax`), and evaluated on every user's last film. It needs matplotlib, which the
extra `plot` brings.
"""

import argparse

import keras
from tqdm.auto import tqdm

import tf_recall as tr
from tf_recall.data.sources.movielens import movielens
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.features import Id, MultiValued, Text

try:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
except ImportError:
    raise SystemExit("the plot needs matplotlib: pip install 'tf_recall[plot]'") from None

METRICS = {
    "recall@20": "recall@20",
    "coverage@20": "coverage@20",
    "popularity_lift@20": "popularity lift@20",
}
LOSSES = {"with log q": tr.SampledSoftmax, "without": tr.UncorrectedSoftmax}

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--manual-dir", help="the folder of ml-latest-small.zip")
parser.add_argument(
    "--smoke", action="store_true", help="a planted world, two epochs, two temperatures"
)
parser.add_argument("--out", default="examples/temperature_and_log_q.png")
options = parser.parse_args()

if options.smoke:
    ratings = synthetic(num_users=300, num_items=300, num_interactions=9_000).interactions
else:
    ratings = movielens(
        "latest-small" if options.manual_dir else "100k", manual_dir=options.manual_dir
    )
temperatures = (0.1, 0.4) if options.smoke else (0.05, 0.1, 0.2, 0.4, 0.8)
split = tr.leave_last_out(ratings, validation=True)
catalog = tr.Catalog.fit(split.train)
cases = tr.cases_by_user(split.test, catalog)


def report(loss):
    """What a model trained with `loss` is worth: metrics by name, and popularity's."""
    keras.utils.set_random_seed(0)
    users = tr.FeatureTower("user", [Id(32)], units=[32])
    items = tr.FeatureTower(
        "item", [Id(32), MultiValued("genres", 8), Text("title", 16)], units=[32]
    )
    model = tr.TwoTower(users, items, loss=loss).adapt(split.train, catalog)
    model.compile(tr.SparseAdagrad(0.1))
    batches = model.batches(split.train, catalog, batch_size=2048)
    recall = tr.CatalogRecall(split.validation, catalog)
    stop = keras.callbacks.EarlyStopping(
        "val_recall@20", mode="max", patience=3, restore_best_weights=True
    )
    model.fit(
        batches.dataset(),
        steps_per_epoch=batches.steps_per_epoch,
        epochs=2 if options.smoke else 30,
        callbacks=[recall, stop],
        shuffle=False,
        verbose=0,
    )
    return tr.evaluate(tr.Service.build(model, catalog), cases, catalog, ks=(20,))


runs = [(name, temperature) for name in LOSSES for temperature in temperatures]
reports = {(name, at): report(LOSSES[name](temperature=at)) for name, at in tqdm(runs, "models")}

print(f"{'':<12}{'temperature':>12}" + "".join(f"{metric:>20}" for metric in METRICS))
for (name, at), result in reports.items():
    print(f"{name:<12}{at:>12}" + "".join(f"{result.metrics[metric]:>20.4f}" for metric in METRICS))

figure, panels = plt.subplots(1, len(METRICS), figsize=(12, 3.6), layout="constrained")
for panel, (metric, label) in zip(panels, METRICS.items(), strict=True):
    for name in LOSSES:
        values = [reports[name, at].metrics[metric] for at in temperatures]
        panel.plot(temperatures, values, marker="o", label=name)
    baseline = reports[runs[0]].baseline[metric]
    panel.axhline(baseline, color="gray", linestyle=":", label="most popular items to all")
    panel.set(xscale="log", xlabel="temperature", ylabel=label, ylim=(0, None))
    panel.set_xticks(temperatures, [str(at) for at in temperatures], minor=False)
    panel.minorticks_off()
panels[0].legend(frameon=False)
figure.savefig(options.out, dpi=110)
print(options.out)
