import gzip

import numpy as np
import pytest

from tf_recall.data.sources.online_retail import online_retail
from tf_recall.data.splits import leave_last_session_out

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
LINES = """
1,A,RED MUG,6,2010-12-01 08:26:00,2.50,17850.0,United Kingdom
1,85123A, BLUE MUG ,2,2010-12-01 08:26:00,1.00,17850.0,United Kingdom
2,85123A,BLUE CUP ,1,2010-12-02 09:00:00,3.00,17850.0,France
3,85123A,BLUE CUP,1,2010-12-03 10:30:00,4.00,13047.0,France
3,22,,1,2010-12-03 10:30:00,0.85,13047.0,France
4,A,MUG,1,2010-12-04 00:00:00,2.50,,France
C5,A,MUG,1,2010-12-04 00:00:00,2.50,17850.0,France
C6,A,MUG,-6,2010-12-04 00:00:00,2.50,17850.0,France
7,A,MUG,-1,2010-12-04 00:00:00,2.50,17850.0,France
8,A,MUG,0,2010-12-04 00:00:00,2.50,17850.0,France
9,A,MUG,1,2010-12-04 00:00:00,0.00,17850.0,France
10,A,MUG,1,2010-12-04 00:00:00,-2.50,17850.0,France
11,B,?,1,2010-12-04 00:00:00,0.00,,France
""".strip()


@pytest.fixture
def write(tmp_path):
    def write(text, name="online_retail.csv"):
        (tmp_path / name).write_bytes(
            gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
        )
        return tmp_path / name

    return write


@pytest.mark.parametrize("name", ["online_retail.csv", "online_retail.csv.gz"])
def test_five_lines_survive_the_cleaning(write, name):
    path = write(f"{HEADER}\n{LINES}\n", name)
    given = online_retail(path)
    assert given.frame.to_dict("list") == {
        "user_id": ["17850", "17850", "17850", "13047", "13047"],
        "item_id": ["A", "85123A", "85123A", "85123A", "22"],
        # 2010-12-01 00:00 is day 14,944 of 1970's count: 14,944 * 86,400 = 1,291,161,600; 8 h 26
        # min = 30,360 s
        "timestamp": [1291191960, 1291191960, 1291280400, 1291372200, 1291372200],
        "invoice": ["1", "1", "2", "3", "3"],
        "quantity": [6, 2, 1, 1, 1],
        "price": [2.5, 1, 3, 4, 0.85],
    }
    # the customer 17850 is from the United Kingdom twice, from France once where the line counts
    assert given.users.to_dict("list") == {
        "user_id": ["17850", "13047"],
        "country": ["United Kingdom", "France"],
    }
    items = given.items.set_index("item_id")
    # BLUE CUP twice, BLUE MUG once; median prices 2.50, 3.00 (of 1, 3, 4) and 0.85, each in a band
    # of its own
    assert items.loc["85123A"].to_dict() == {"description": "BLUE CUP", "price_band": "3.00-3.00"}
    assert items.loc["A"].to_dict() == {"description": "RED MUG", "price_band": "2.50-2.50"}
    assert items["description"].isna().to_dict() == {"A": False, "85123A": False, "22": True}
    again = online_retail(path.parent)  # the folder does as well
    assert (again.frame == given.frame).all(axis=None)


def test_price_bands_hold_a_tenth_each(write):
    # 40 items at 0.10, 0.20, ... 4.00: the first four are the first band, the last four the last
    lines = [f"1,i{at},X,1,2010-12-01 08:26:00,{at / 10},1,France" for at in range(1, 41)]
    items = online_retail(write("\n".join([HEADER, *lines]))).items.set_index("item_id")[
        "price_band"
    ]
    assert items.value_counts().tolist() == [4] * 10
    assert (
        items["i1"] == items["i4"] == "0.10-0.40"
        and items["i5"] == "0.50-0.80"
        and items["i40"] == "3.70-4.00"
    )
    lines = [f"1,i{at},X,1,2010-12-01 08:26:00,1.25,1,France" for at in range(5)]
    items = online_retail(write("\n".join([HEADER, *lines]))).items  # one price: one band
    assert items["price_band"].tolist() == ["1.25-1.25"] * 5


def test_equally_frequent_values_are_taken_in_the_order_of_the_alphabet(write):
    lines = [f"1,a,{text},1,2010-12-01 08:26:00,1,1.0,{text}" for text in ("Z", "B", "Z", "B", "A")]
    given = online_retail(write("\n".join([HEADER, *lines])))
    assert given.items["description"].tolist() == given.users["country"].tolist() == ["B"]


@pytest.mark.parametrize(
    "text, says",
    [
        ("", "cannot be read as the CSV file of Online Retail: No columns"),
        (HEADER, "has 0 lines, and none with a customer"),
        (f"{HEADER}\nC1,A,MUG,1,2010-12-04,1,1,France", "has 1 lines, and none with a customer"),
        (
            "InvoiceNo,StockCode,Quantity,CustomerID\n1,A,1,1",
            "lacks Description, InvoiceDate, UnitPrice, Country;",
        ),
        (
            f"{HEADER}\n1,A,MUG,many,2010-12-04,1,1,France",
            "cannot be read as the CSV file of Online Retail",
        ),
        (
            f"{HEADER}\n1,A,MUG,1,yesterday,1,1,France",
            "timestamp 'yesterday' in row 0 cannot be read",
        ),
    ],
    ids=range(6),
)
def test_what_is_wrong_with_the_file_is_named(write, text, says):
    with pytest.raises(ValueError, match=says):
        online_retail(write(text))


def test_a_missing_or_broken_file_is_named(write, tmp_path):
    with pytest.raises(
        FileNotFoundError, match="no .*nowhere.csv: get the data set 'Online Retail' .* UCI"
    ):
        online_retail(tmp_path / "nowhere.csv")
    with pytest.raises(
        FileNotFoundError, match="no .*online_retail.csv.gz or .*online_retail.csv: get"
    ):
        online_retail(tmp_path)
    path = write(f"{HEADER}\n{LINES}\n", "cut.csv.gz")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="cut.csv.gz cannot be read"):
        online_retail(path)


def test_the_real_file_has_the_counts_of_the_literature(shared_data):
    given = online_retail(shared_data / "online-retail")
    frame = given.frame
    counts = [frame[name].nunique() for name in ("user_id", "item_id", "invoice")]
    assert [len(frame), *counts] == [397_884, 4338, 3665, 18_532]
    assert len(frame[["user_id", "item_id"]].drop_duplicates()) == 266_792
    assert (len(given.users), len(given.items)) == (4338, 3665)
    items = given.items.set_index("item_id")
    assert items.loc["85123A", "description"] == "WHITE HANGING HEART T-LIGHT HOLDER"
    assert items["price_band"].nunique() == 10 and items.notna().all(axis=None)
    assert given.users["country"].nunique() == 37 and frame["user_id"].str.fullmatch(r"\d{5}").all()
    # each line's invoice is its customer's own, so the last session of a customer is one invoice
    split = leave_last_session_out(given, "invoice", validation=True)
    assert sum(map(len, (split.train, split.validation, split.test))) == len(frame)
    # 4,338 customers, 1,493 of them with one invoice and 835 with two
    assert (
        split.test.frame["invoice"].nunique()
        == split.test.frame["user_id"].nunique()
        == 4338 - 1493
    )
    assert split.validation.frame["invoice"].nunique() == 4338 - 1493 - 835
    last = frame.groupby("user_id")["timestamp"].max()
    ends = split.test.frame.groupby("user_id")["timestamp"].max()
    np.testing.assert_array_equal(ends, last[ends.index])
