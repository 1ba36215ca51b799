"""Airbnb's two models on a planted log of searches and bookings: similar homes, and new guests.

    python examples/airbnb_stays.py             # 2,000 users and 600 homes: under two minutes
    python examples/airbnb_stays.py --smoke     # a smaller world: seconds

It needs no network.
"""

import argparse

import keras

import tf_recall as tr
from tf_recall.data.sessions import ByColumn, WithConversion
from tf_recall.data.sources.stays import stays
from tf_recall.models.airbnb_i2i import AirbnbI2I
from tf_recall.models.airbnb_u2i import AirbnbU2I
from tf_recall.negatives import EasyHard, Given, Uniform
from tf_recall.positives import UserItem, Windows

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--smoke", action="store_true", help="a smaller world")
parser.add_argument("--out", default="saved_models/airbnb_example")
options = parser.parse_args()
keras.utils.set_random_seed(0)

# 1. Data: searches are runs of clicks; `booked` marks the last click of some, `negatives` the hosts
# that rejected before.
log = (
    stays(num_users=600, num_items=200, num_cities=6).interactions
    if options.smoke
    else stays().interactions
)
split = tr.by_time(log, test=0.1)
catalog = tr.Catalog.fit(split.train)

# 2. Two models: homes of one search are near one another and the one booked; types of guests near
# types of homes.
i2i = AirbnbI2I("city", Windows(WithConversion(ByColumn("search"), "booked")))
u2i = AirbnbU2I(
    user_type=[
        "country",
        {"column": "budget", "quantiles": 4},
        {"column": "party", "edges": [2, 3, 5]},
    ],
    item_type=[
        "city",
        "kind",
        {"column": "capacity", "edges": [2, 3, 5]},
        {"column": "price", "quantiles": 4},
    ],
    positives=UserItem(where="booked"),
    negatives=EasyHard(Uniform(num=64), Given(2), ratio=32),
)

# 3. Fit.
for model, batch_size, epochs in ((i2i, 1024, 10), (u2i, 128, 15)):
    model.adapt(split.train, catalog).compile()
    batches = model.batches(split.train, catalog, batch_size)
    model.fit(
        batches.dataset(),
        steps_per_epoch=batches.steps_per_epoch,
        epochs=epochs,
        shuffle=False,
        verbose=2,
    )

# 4. Evaluate through the services that will answer, beside popularity; export.
paths = {}
for name, model in (("i2i", i2i), ("u2i", u2i)):
    service = tr.Service.build(model, catalog)
    report = tr.evaluate(service, tr.cases_by_user(split.test, catalog), catalog, ks=(20,))
    print(f"\n{name}", report, sep="\n")
    paths[name] = tr.save(service, f"{options.out}/{name}", metrics=report.to_dict(), model=model)

# 5. Load the exports as a client would, and query them.
homes = log.items.set_index("item_id")
home = split.train.frame["item_id"].mode()[0]
item_ids, scores = tr.load(paths["i2i"]).similar([home], k=5)
print(f"\n{paths['i2i']}: more like this", homes.loc[[home]], homes.loc[item_ids[0]], sep="\n")
guest = {"country": "country1", "budget": 150.0, "party": 4}
item_ids, scores = tr.load(paths["u2i"]).recommend(["somebody new"], k=5, **guest)
print(f"\n{paths['u2i']}: homes for somebody new, {guest}", homes.loc[item_ids[0]], sep="\n")
