"""What tests of Redis share: lists to load into it."""

import pytest

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.lists.write import write_lists
from tf_recall.recommend.rankings import Popularity


@pytest.fixture
def files(tmp_path):
    """`files(number)`: lists of 3000 users in three batches, whose items tell the number."""

    def write(number):
        catalog = Catalog.fit(
            Interactions.from_columns(user_id=["u0"] * 2, item_id=[f"{number} a", f"{number} b"])
        )
        users = [f"u{user}" for user in range(3000)]
        return write_lists(
            Popularity().fit(None, catalog), users, tmp_path / f"{number}.parquet", 2, False
        )

    return write
