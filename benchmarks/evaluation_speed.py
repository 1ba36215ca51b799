"""Exact evaluation of the tutorial's test set beside TFRS's `FactorizedTopK`: whole call each, and the same hits.

    python benchmarks/evaluation_speed.py [--quick] [--manual-dir FOLDER]

Ours: encode the catalogue, build the index, encode every query, rank, all metrics, popularity beside it. TFRS: the
tutorial's `model.evaluate` on batches of 4,096, whose metric encodes the candidates in batches of 128. Two models of
the same sizes; then TFRS's metric is given our finished vectors, and must count our hits: `same_hits`, and
`ratio_on_vectors` for that part alone. `--quick` gives TFRS a tenth of the rows and scales its times up.
"""

import time

import numpy as np
from tutorial import arguments, finish, our_batches, our_model, read, tfrs_columns, tfrs_model

import tf_recall as tr

KS = (1, 5, 10, 50, 100)


def main():
    options = arguments(__doc__)
    split, catalog = read(options.manual_dir)
    model = our_model(split, catalog)
    batches = our_batches(split, catalog, model)
    model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch, epochs=3, verbose=0, shuffle=False)
    known = split.test.select(catalog.items.encode(split.test.frame["item_id"]) > 0)

    def ours():
        start = time.perf_counter()
        service = tr.Service.build(model, catalog)
        cases = tr.cases_by_row(known, catalog)
        report = tr.evaluate(service, cases, catalog, ks=KS, exclude_seen=False)
        return time.perf_counter() - start, [round(report.metrics[f"recall@{k}"] * len(known)) for k in KS]

    ours()  # traces
    times, hits = zip(*(ours() for _ in range(3)), strict=True)

    service = tr.Service.build(model, catalog)
    frame = known.frame
    queries = service.embed_query(frame["user_id"].to_numpy(), timestamp=frame["timestamp"].to_numpy())
    rows = catalog.items.encode(frame["item_id"])
    count = len(rows) // 10 if options.quick else len(rows)
    whole = tfrs_evaluate(split, known.select(np.arange(len(rows)) < count), catalog) * len(rows) / count
    finished, their_hits = tfrs_top_k(queries[:count], rows[:count], model.embed_catalog())
    finished *= len(rows) / count

    same = hits[0] == their_hits if not options.quick else None
    our_time = float(np.median(times))
    print(f"{'':<24}{'seconds':>10}   hits at {KS}")
    print(f"{'tf_recall':<24}{our_time:>10.3f}   {hits[0]}")
    print(f"{'TFRS model.evaluate':<24}{whole:>10.3f}   (its own model)")
    print(f"{'TFRS on our vectors':<24}{finished:>10.3f}   {their_hits}{' (of a tenth)' if options.quick else ''}")
    finish(
        ratio=whole / our_time, ratio_on_vectors=finished / our_time, same_hits=same, ours=hits[0], theirs=their_hits
    )


def tfrs_evaluate(split, part, catalog):
    """Seconds of the tutorial's `model.evaluate`."""
    import tensorflow as tf
    import tensorflow_recommenders as tfrs

    model = tfrs_model(split, catalog)
    titles = tf.data.Dataset.from_tensor_slices(catalog.item_table["title"].to_numpy(dtype=object).astype(str))
    metric = tfrs.metrics.FactorizedTopK(candidates=titles.batch(128).map(model.item), ks=KS)
    model.task.factorized_metrics = [metric]
    rows = tfrs_columns(part, catalog).batch(4096).cache()
    model.evaluate(rows.take(1), verbose=0)  # traces
    start = time.perf_counter()
    model.evaluate(rows, verbose=0)
    return time.perf_counter() - start


def tfrs_top_k(queries, rows, items):
    """Seconds and hits of TFRS's exact metric over batches of 4,096 queries and 128 candidates, as in the tutorial."""
    import tensorflow as tf
    import tensorflow_recommenders as tfrs

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
