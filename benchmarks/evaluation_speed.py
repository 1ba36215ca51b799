"""Exact evaluation of the tutorial's test set, compared with TFRS's `FactorizedTopK`, and what
validation takes of an epoch.

    python benchmarks/evaluation_speed.py [--quick] [--manual-dir FOLDER]

Ours encodes the catalog, builds the index, makes the cases, encodes every query, and computes all
ranking metrics and slices, those of popularity too; `with lists` coverage and the like besides.
TFRS runs in two ways:

- `FactorizedTopK` called on the test set with our finished vectors, in batches of 4,096 against
  batches of 128 candidates: `ratio`, and `ratio_with_lists`. It must count the same hits,
  `same_hits`. A little noise on the vectors keeps films of the same title from having equal scores,
  since ties count against us, and in the order of the list there.
- The tutorial's `model.evaluate`, which compiles all that and encodes the candidates too:
  `ratio_evaluate`.

Then `validation_share`: a two-tower of ids, 64 wide, trains on 800,000 interactions of 30,000 users
with 40,000 items, in batches of 2,048; a tenth of them is held out. It is the time of
`CatalogRecall` over that of the epoch.

Each time is the least of several, ours and theirs in turn: whatever else runs on the machine only
adds to it. `--quick` gives TFRS a tenth of the rows and scales its times up.
"""

import time

import numpy as np
import pandas as pd
from tutorial import arguments, finish, our_batches, our_model, read, tfrs_columns, tfrs_model

import tf_recall as tr
from tf_recall.features import Id
from tf_recall.losses.retrieval_task import load_tfrs

KS = (1, 5, 10, 50, 100)
USERS, ITEMS, INTERACTIONS, DIM = 30_000, 40_000, 800_000, 64


def main():
    options = arguments(__doc__)
    split, catalog = read(options.manual_dir)
    model = our_model(split, catalog)
    batches = our_batches(split, catalog, model)
    model.fit(
        batches.dataset(),
        steps_per_epoch=batches.steps_per_epoch,
        epochs=3,
        verbose=0,
        shuffle=False,
    )
    known = split.test.select(catalog.items.encode(split.test.frame["item_id"]) > 0)
    rows = catalog.items.encode(known.frame["item_id"])
    cases = tr.cases_by_row(known, catalog)

    def ours(lists):
        service = tr.Service.build(model, catalog)
        cases, given = tr.cases_by_row(known, catalog), {"batch_size": 4096, "lists": lists}
        tr.evaluate(service, cases, catalog, ks=KS, exclude_seen=False, **given)

    service = tr.Service.build(model, catalog)
    items = model.embed_catalog()
    items += (
        np.random.default_rng(0)
        .normal(scale=1e-4 * items.std(), size=items.shape)
        .astype(np.float32)
    )
    service.index.vectors.assign(items)
    metrics = tr.evaluate(service, cases, catalog, KS, exclude_seen=False, lists=False).metrics
    hits = [round(metrics[f"recall@{k}"] * len(rows)) for k in KS]

    count = len(rows) // 10 if options.quick else len(rows)
    scale = len(rows) / count
    queries = service.embed_query(
        known.frame["user_id"].to_numpy(), timestamp=known.frame["timestamp"].to_numpy()
    )
    seconds, their_hits = {}, None
    for _ in range(3):
        for name, lists in {"ours": False, "with lists": True}.items():
            ours(lists)  # traces
            spent = min(_seconds(lambda lists=lists: ours(lists)) for _ in range(3))
            seconds[name] = min(spent, seconds.get(name, np.inf))
        spent, their_hits = tfrs_top_k(queries[:count], rows[:count], items)
        seconds["metric"] = min(spent * scale, seconds.get("metric", np.inf))
    seconds["evaluate"] = scale * tfrs_evaluate(split, known.select(np.arange(count)), catalog)

    same = None if options.quick else hits == their_hits
    print(f"{'':<26}{'seconds':>10}   hits at {KS}")
    print(f"{'tf_recall':<26}{seconds['ours']:>10.3f}   {hits}")
    print(f"{'with lists':<26}{seconds['with lists']:>10.3f}   (coverage and the like too)")
    print(
        f"{'TFRS FactorizedTopK':<26}{seconds['metric']:>10.3f}   "
        f"{their_hits}{' (of a tenth)' * options.quick}"
    )
    print(f"{'TFRS model.evaluate':<26}{seconds['evaluate']:>10.3f}   (its own model)")
    epoch, validation = epoch_and_validation()
    print(f"{'an epoch':<26}{epoch:>10.3f}   ({USERS:,} users, {ITEMS:,} items)")
    print(f"{'its validation':<26}{validation:>10.3f}   ({validation / epoch:.1%} of it)")
    ratios = {
        "ratio": seconds["metric"] / seconds["ours"],
        "ratio_with_lists": seconds["metric"] / seconds["with lists"],
        "ratio_evaluate": seconds["evaluate"] / seconds["ours"],
    }
    share = validation / epoch
    finish(**ratios, same_hits=same, ours=hits, theirs=their_hits, validation_share=share)


def epoch_and_validation():
    """Seconds of an epoch without validation, and of its validation."""
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, ITEMS + 1) ** 0.7
    log = tr.Interactions.from_columns(
        user_id=rng.integers(0, USERS, INTERACTIONS),
        item_id=rng.choice(ITEMS, INTERACTIONS, p=share / share.sum()),
        items=pd.DataFrame({"item_id": np.arange(ITEMS)}),
    )
    held = rng.random(INTERACTIONS) < 0.1
    train, validation = log.select(~held), log.select(held)
    catalog = tr.Catalog.fit(train)
    towers = tr.FeatureTower("user", [Id(DIM)]), tr.FeatureTower("item", [Id(DIM)])
    model = tr.TwoTower(*towers).adapt(train, catalog)
    model.compile(tr.SparseAdagrad(0.1))
    batches = model.batches(train, catalog, 2048)
    recall = tr.CatalogRecall(validation, catalog)
    recall.set_model(model)

    def epoch(steps):
        model.fit(batches.dataset(), steps_per_epoch=steps, verbose=0, shuffle=False)

    epoch(5)  # traces
    recall.on_epoch_end(0, {})
    spent = [
        (
            _seconds(lambda: epoch(batches.steps_per_epoch)),
            min(_seconds(lambda: recall.on_epoch_end(0, {})) for _ in range(3)),
        )
        for _ in range(3)
    ]
    return np.min(spent, axis=0)


def _seconds(do):
    start = time.perf_counter()
    do()
    return time.perf_counter() - start


def tfrs_evaluate(split, part, catalog):
    """Seconds of the tutorial's `model.evaluate`."""
    import tensorflow as tf

    tfrs = load_tfrs()

    model = tfrs_model(split, catalog)
    titles = tf.data.Dataset.from_tensor_slices(
        catalog.item_table["title"].to_numpy(dtype=object).astype(str)
    )
    metric = tfrs.metrics.FactorizedTopK(candidates=titles.batch(128).map(model.item), ks=KS)
    model.task.factorized_metrics = [metric]
    rows = tfrs_columns(part, catalog).batch(4096).cache()
    model.evaluate(rows.take(1), verbose=0)  # traces
    start = time.perf_counter()
    model.evaluate(rows, verbose=0)
    return time.perf_counter() - start


def tfrs_top_k(queries, rows, items):
    """Seconds and hits of TFRS's exact metric, with the tutorial's batches of candidates."""
    import tensorflow as tf

    tfrs = load_tfrs()

    ids = tf.constant(np.arange(1, len(items) + 1).astype(str))
    candidates = tf.data.Dataset.from_tensor_slices((ids, tf.constant(items))).batch(128)
    metric = tfrs.metrics.FactorizedTopK(candidates=candidates, ks=KS)
    start = time.perf_counter()
    for at in range(0, len(rows), 4096):
        own = rows[at : at + 4096]
        metric.update_state(
            tf.constant(queries[at : at + 4096]),
            tf.constant(items[own - 1]),
            true_candidate_ids=tf.constant(own.astype(str)),
        )
    hits = [round(float(value) * len(rows)) for value in metric.result()]
    return time.perf_counter() - start, hits


if __name__ == "__main__":
    main()
