"""The bucket of a user: a hash that is the same in every process, on every machine, for good."""

from hashlib import sha256
from typing import Any

import numpy as np

from tf_recall.data.ids import is_missing, raw_ids


def buckets_of(ids: Any, salt: str, num: int) -> np.ndarray:
    """The bucket of each user in a layer, `[n]` int64, from 0 to num - 1.

        bucket = the first 15 hexadecimal digits of SHA-256("<salt>/<id>" in UTF-8), modulo num

    An integer id is hashed as its decimal digits, so 7 and "7" are in one bucket. Two salts give
    independent buckets. 15 digits are 60 bits, which whole numbers with a sign hold anywhere. In
    BigQuery: `MOD(CAST(CONCAT('0x', SUBSTR(TO_HEX(SHA256(CONCAT(salt, '/', id))), 1, 15)) AS
    INT64), num)`; in JavaScript, of the digest's `hex`: `BigInt('0x' + hex.slice(0, 15)) %
    BigInt(num)`.

    Args:
        ids: of users, strings or integers, one-dimensional.
        salt: of the layer.
        num: how many buckets there are.

    Raises:
        TypeError: ids of another type.
        ValueError: a missing id.

    Example:
        >>> buckets_of(["u1", "u2", "7"], "ranking", 1000).tolist()
        [87, 240, 308]
        >>> buckets_of([7], "ranking", 1000).tolist()
        [308]
    """
    ids = raw_ids(ids, "user_id")
    missing = np.flatnonzero(is_missing(ids))
    if missing.size:
        raise ValueError(f"user_id is missing in row {missing[0]}: nobody has no bucket")
    prefix = f"{salt}/".encode()
    # no library hashes an array so that another language can repeat it; this is 1 s a million
    digests = (sha256(prefix + str(each).encode()).digest()[:8] for each in ids.tolist())
    return (np.frombuffer(b"".join(digests), ">u8") // 16 % np.uint64(num)).astype(np.int64)
