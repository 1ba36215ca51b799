"""UCI Online Retail: a year of a gift shop's invoices, each of which is a session."""

from pathlib import Path

import numpy as np
import pandas as pd

from tf_recall.data import delimited, tables
from tf_recall.data.interactions import Interactions

FILES = ("online_retail.csv.gz", "online_retail.csv")
NUMBERS = {"Quantity": np.int64, "UnitPrice": np.float64}
COLUMNS = (
    *("InvoiceNo", "StockCode", "Description", "Quantity"),
    *("InvoiceDate", "UnitPrice", "CustomerID", "Country"),
)
BANDS = 10


def online_retail(path: str | Path) -> Interactions:
    """Online Retail as interactions: which customer bought which item, on which invoice and when.

    Cleaned as in the literature. A line stays where its customer is known, it is no cancellation
    (`InvoiceNo` does not begin with C), and quantity and price are positive:

        541,909 lines -> 397,884 lines, 4,338 customers, 3,665 items, 18,532 invoices,
                         266,792 distinct pairs

    Nothing else is changed: an item twice on one invoice is two lines, and postage and manual
    entries are items too.

    Ids are strings, items by stock code ("85123A"). `frame` has the timestamp in seconds (the
    shop's clock, read as UTC; the lines of an invoice have the same minute) and the context columns
    `invoice`, `quantity` and `price`. `items` has `description`, the code's most frequent one, and
    `price_band`, the tenth of the items by median price, named by its lowest and highest price
    ("1.25-1.65"); equal prices stay together. `users` has `country`, the most frequent one. The
    side tables are made of all lines: they hold what could be known at any time, so a split need
    not make them again.

    Args:
        path: the file as CSV, compressed or not, or the folder that holds it as
            `online_retail.csv.gz`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is not this CSV, has not all columns, or has no line left after
            cleaning.

    Example:
        >>> split = leave_last_session_out(online_retail("downloads"), "invoice")

    Paper: Chen 2015, "Online Retail", UCI Machine Learning Repository, doi 10.24432/C5BW33,
        licensed CC BY 4.0.
    Paper: Chen et al. 2012, "Data mining for the online retail industry".
    """
    path = _file(Path(path))
    try:
        lines = delimited.read(path).to_pandas()
        lines = lines.astype({name: kind for name, kind in NUMBERS.items() if name in lines})
    except ValueError as error:
        what = str(error).removeprefix(f"{path} cannot be read as CSV: ")
        raise ValueError(
            f"{path} cannot be read as the CSV file of Online Retail: {what}"
        ) from error
    if absent := [name for name in COLUMNS if name not in lines]:
        raise ValueError(
            f"{path} lacks {', '.join(absent)}; Online Retail has the columns {', '.join(COLUMNS)}."
        )
    canceled = lines["InvoiceNo"].str.startswith("C", na=True)
    kept = (
        lines["CustomerID"].notna() & ~canceled & (lines["Quantity"] > 0) & (lines["UnitPrice"] > 0)
    )
    if not kept.any():
        raise ValueError(
            f"{path} has {len(lines)} lines, and none with a customer, a positive quantity and "
            "price, and no cancellation."
        )
    lines = lines[kept]
    # customer numbers have gaps, so they are often saved as floats
    user_id = lines["CustomerID"].str.removesuffix(".0")
    return Interactions.from_columns(
        user_id=user_id.to_numpy(object),
        item_id=lines["StockCode"].to_numpy(object),
        timestamp=lines["InvoiceDate"],
        invoice=lines["InvoiceNo"].to_numpy(object),
        quantity=lines["Quantity"],
        price=lines["UnitPrice"],
        items=_items(lines),
        users=_side("user_id", user_id, country=_most_frequent(lines["Country"], user_id)),
    )


def _file(path: Path) -> Path:
    candidates = [path / name for name in FILES] if path.is_dir() else [path]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(
        f"there is no {' or '.join(map(str, candidates))}: get the data set 'Online Retail' (doi "
        "10.24432/C5BW33) from the UCI Machine Learning Repository and save its table as CSV."
    )


def _items(lines: pd.DataFrame) -> pd.DataFrame:
    price = lines.groupby("StockCode")["UnitPrice"].median()
    tenth = pd.qcut(price, BANDS, labels=False, duplicates="drop")
    prices = price.groupby(tenth, dropna=False)
    lowest = prices.transform("min").map("{:.2f}".format)
    highest = prices.transform("max").map("{:.2f}".format)
    description = _most_frequent(lines["Description"].str.strip(), lines["StockCode"])
    return _side(
        "item_id", lines["StockCode"], description=description, price_band=lowest + "-" + highest
    )


def _side(key: str, ids: pd.Series, **columns: pd.Series) -> pd.DataFrame:
    """A table with one line per id, from columns with the ids as their index."""
    known = pd.unique(ids)
    return tables.of_columns(
        {key: known} | {name: column.reindex(known).to_numpy() for name, column in columns.items()}
    )


def _most_frequent(values: pd.Series, ids: pd.Series) -> pd.Series:
    """Each id's most frequent value that is not missing; of equally frequent ones the lowest."""
    counts = values.groupby([ids, values]).size()  # in the order of ids, then values
    best = counts.sort_values(ascending=False, kind="stable").reset_index(level=1, name="count")
    return best[~best.index.duplicated()].iloc[:, 0]
