"""Exact evaluation of the tutorial's test set, compared with TFRS's `FactorizedTopK`.

    python benchmarks/evaluation_speed.py [--quick] [--manual-dir FOLDER]

Ours encodes the catalog, builds the index, encodes every query, ranks, and computes all metrics,
those of popularity too. TFRS runs in two ways:

- `FactorizedTopK` called on the test set with our finished vectors, in batches of 4,096 against
  batches of 128 candidates: `ratio`. It must count the same hits, `same_hits`. A little noise on
  the vectors keeps films of the same title from having equal scores, since ties count against us,
  and in the order of the list there.
- The tutorial's `model.evaluate`, which compiles all that and encodes the candidates too:
  `ratio_evaluate`.

`--quick` gives TFRS a tenth of the rows and scales its times up.
"""

import time

import numpy as np
from tutorial import arguments, finish, our_batches, our_model, read, tfrs_columns, tfrs_model

import tf_recall as tr
from tf_recall.losses.retrieval_task import load_tfrs

KS = (1, 5, 10, 50, 100)


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

    def ours():
        start = time.perf_counter()
        service = tr.Service.build(model, catalog)
        tr.evaluate(service, tr.cases_by_row(known, catalog), catalog, ks=KS, exclude_seen=False)
        return time.perf_counter() - start

    ours()  # traces
    time_ours = float(np.median([ours() for _ in range(5)]))

    service = tr.Service.build(model, catalog)
    items = model.embed_catalog()
    items += (
        np.random.default_rng(0)
        .normal(scale=1e-4 * items.std(), size=items.shape)
        .astype(np.float32)
    )
    service.index.vectors.assign(items)
    metrics = tr.evaluate(service, cases, catalog, ks=KS, exclude_seen=False).metrics
    hits = [round(metrics[f"recall@{k}"] * len(rows)) for k in KS]

    count = len(rows) // 10 if options.quick else len(rows)
    scale = len(rows) / count
    queries = service.embed_query(
        known.frame["user_id"].to_numpy(), timestamp=known.frame["timestamp"].to_numpy()
    )
    time_metric, their_hits = tfrs_top_k(queries[:count], rows[:count], items)
    time_evaluate = tfrs_evaluate(split, known.select(np.arange(count)), catalog)

    same = None if options.quick else hits == their_hits
    print(f"{'':<26}{'seconds':>10}   hits at {KS}")
    print(f"{'tf_recall':<26}{time_ours:>10.3f}   {hits}")
    print(
        f"{'TFRS FactorizedTopK':<26}{time_metric * scale:>10.3f}   "
        f"{their_hits}{' (of a tenth)' * options.quick}"
    )
    print(f"{'TFRS model.evaluate':<26}{time_evaluate * scale:>10.3f}   (its own model)")
    ratios = {
        "ratio": time_metric * scale / time_ours,
        "ratio_evaluate": time_evaluate * scale / time_ours,
    }
    finish(**ratios, same_hits=same, ours=hits, theirs=their_hits)


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
