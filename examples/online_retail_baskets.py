"""Item2Vec, EGES and SDM on baskets: similar articles, of new ones too, and what may come next.

python examples/online_retail_baskets.py --data FOLDER   # UCI's online_retail.csv.gz: minutes
python examples/online_retail_baskets.py --smoke         # a planted world: no files, seconds
"""

import argparse

import keras

import tf_recall as tr
from tf_recall.data.sources.online_retail import online_retail
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.features import Categorical, Id, Text

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--data", help="the folder of online_retail.csv.gz")
parser.add_argument("--smoke", action="store_true", help="a planted world, two epochs")
parser.add_argument("--out", default="saved_models/baskets_example")
options = parser.parse_args()
if not (options.data or options.smoke):
    parser.error("give --data FOLDER, or --smoke")
keras.utils.set_random_seed(0)

# 1. Data: an invoice is a session, and each customer's last one is the test. The planted world has
# users' sequences.
if options.smoke:
    log, baskets, words, band = (
        synthetic(300, 300, 9_000).interactions,
        tr.ByUser(),
        "title",
        "genres",
    )
    split = tr.leave_last_out(log)
else:
    log, baskets, words, band = (
        online_retail(options.data),
        tr.ByColumn("invoice"),
        "description",
        "price_band",
    )
    split = tr.leave_last_session_out(log, "invoice")
catalog = tr.Catalog.fit(split.train)

# 2. Three models: one knows articles by number alone, one by their words and price as well; the
# third weighs a customer's whole history, and the latest articles apart. Rows of few events have
# small gradients: the accumulators start below them.
articles = tr.WeightedTower(
    "item", [Id(64, unknown_rate=0.3, min_count=10), Text(words, 64), Categorical(band, 64)]
)
small = {"initial_accumulator_value": 1e-10, "epsilon": 1e-10}
item2vec = tr.Item2Vec(64, tr.ShrinkingWindows(baskets, window=20))
eges = tr.EGES(articles, tr.Walks(baskets, num_walks=10, length=10))
sdm = tr.SDM(item_features=[Text(words, 32), Categorical(band, 8)])
models = {
    "item2vec": (item2vec, 30, tr.SparseAdagrad(0.2, **small)),
    "eges": (eges, 10, tr.SparseAdagrad(0.3, **small)),
    "sdm": (sdm, 10, None),
}

# 3. Fit.
for model, epochs, optimizer in models.values():
    model.adapt(split.train, catalog)
    model.compile(optimizer)
    batches = model.batches(split.train, catalog, batch_size=1024)
    epochs = 2 if options.smoke else epochs
    model.fit(
        batches.dataset(),
        steps_per_epoch=batches.steps_per_epoch,
        epochs=epochs,
        shuffle=False,
        verbose=2,
    )

# 4. Evaluate through the services that will answer, beside popularity; export. A user is what they
# bought: the mean of it to the first two.
paths = {}
for name, (model, *_) in models.items():
    service = tr.Service.build(model, catalog)
    report = tr.evaluate(service, tr.cases_by_user(split.test, catalog), catalog, ks=(20, 100))
    print(f"\n{name}", report, sep="\n")
    paths[name] = tr.save(service, f"{options.out}/{name}", metrics=report.to_dict(), model=model)

# 5. Load the exports as a client would, and query them for an article, for a basket without a
# customer, for a new article.
known = log.items.set_index("item_id")[words]
article, basket = catalog.items.ids[0], [catalog.items.ids[:2].tolist()]
for name, path in paths.items():
    served = tr.load(path)
    print(
        f"\n{name}: more like {known[article]!r}",
        *known.loc[served.similar([article], k=5)[0][0]],
        sep="\n  ",
    )
    found, _ = served.recommend([""], k=5, history=basket, exclude_seen=True)
    print(f"{name}: beside", *known.loc[basket[0]], "may go", *known.loc[found[0]], sep="\n  ")
text = known[catalog.items.ids[5]]
found, _ = tr.load(paths["eges"]).similar(["brand new"], k=5, **{words: [text]})
print(f"\neges: a new article described as {text!r} is like", *known.loc[found[0]], sep="\n  ")
