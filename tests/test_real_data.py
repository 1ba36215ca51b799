"""MovieLens latest-small from the zip file to an exported model that answers."""

import tf_recall as tr
from tf_recall.config import Config


def test_movielens_beats_popularity_and_answers(shared_data, tmp_path):
    sets = [
        "data.variant=latest-small",
        f"data.manual_dir={shared_data / 'movielens'}",
        f"data.data_dir={tmp_path / 'tfds'}",
        "split={name: leave_last_out, validation: true}",
        "train.epochs=5",
    ]
    trained = tr.train(Config.load("two_tower_movielens", sets), tmp_path)
    counts = trained.report.counts
    assert (counts["cases"], counts["pairs"], counts["items"]) == (610, 610, 9742)  # a last film for every user
    for metric in ("recall@20", "ndcg@20", "recall@100"):
        assert trained.report.metrics[metric] > 1.3 * trained.report.baseline[metric]
    served = tr.load(trained.path)
    items, scores = served.recommend(["1", "a stranger"], k=10, exclude_seen=True)
    assert items.shape == scores.shape == (2, 10) and len(set(items[0])) == 10
    seen = trained.service.catalog.seen.of(int(trained.service.catalog.users.encode(["1"])[0]))
    assert not set(trained.service.catalog.items.decode(seen)) & set(items[0])
