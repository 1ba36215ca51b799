"""A store on Milvus: embedded in a file, or a server by its address."""

from typing import ClassVar

import numpy as np

from tf_recall.data.ids import kind_of
from tf_recall.data.names import check_name
from tf_recall.stores.base import Store
from tf_recall.stores.conditions import expression

LONGEST = 512  # bytes of an id
AT_ONCE = 10_000  # rows of a call
MOST = 16_384  # what a search of Milvus answers at most


class Milvus(Store):
    """A collection of Milvus. What is written is kept there: it needs no `save`.

    Args:
        dim: length of the vectors.
        uri: a file `*.db` for the embedded Milvus Lite, or `http://host:19530` of a server.
        name: of the collection; one that is there is opened.
        id_type: of the ids, "string" or "int64".
        token: `user:password`, where the server asks for one.

    Raises:
        ImportError: the package pymilvus is not installed, or milvus-lite for a file.
        ValueError: the collection is of other vectors or ids.
        ConnectionError: no server answers.

    Example:
        >>> store = Milvus(64, "items.db", "films")             # doctest: +SKIP
        >>> store.upsert(["tea"], np.ones([1, 64]), pd.DataFrame({"hot": [True]}))  # doctest: +SKIP
    """

    takes_where: ClassVar[bool] = True

    def __init__(
        self,
        dim: int,
        uri: str,
        name: str = "items",
        id_type: str = "string",
        token: str = "",
    ) -> None:
        super().__init__(dim)
        check_name("name", name)
        self.name = name
        self.id_type = id_type
        self._milvus = _library()
        try:
            self._client = self._milvus.MilvusClient(uri=uri, token=token)
        except self._milvus.MilvusException as error:
            raise ConnectionError(f"Milvus does not answer at {uri}: {error.message}") from error
        if self._client.has_collection(name):
            self._check_same()
        else:
            self._create()
        self._client.load_collection(name)

    def _create(self):
        kinds = self._milvus.DataType
        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=True)
        if self.id_type == "string":
            schema.add_field("id", kinds.VARCHAR, is_primary=True, max_length=LONGEST)
        else:
            schema.add_field("id", kinds.INT64, is_primary=True)
        schema.add_field("vector", kinds.FLOAT_VECTOR, dim=self.dim)
        index = self._client.prepare_index_params()
        index.add_index("vector", index_type="AUTOINDEX", metric_type="IP")
        self._client.create_collection(
            self.name, schema=schema, index_params=index, consistency_level="Strong"
        )

    def _check_same(self):
        fields = {f["name"]: f for f in self._client.describe_collection(self.name)["fields"]}
        dim = int(fields.get("vector", {}).get("params", {}).get("dim", 0))
        text = fields.get("id", {}).get("type") == self._milvus.DataType.VARCHAR
        id_type = "string" if text else "int64"
        if (dim, id_type) != (self.dim, self.id_type):
            raise ValueError(
                f"the collection {self.name!r} holds {id_type} ids and vectors of {dim} numbers, "
                f"not {self.id_type} and {self.dim}: choose another name"
            )

    def __len__(self) -> int:
        (answer,) = self._client.query(
            self.name, output_fields=["count(*)"], consistency_level="Strong"
        )
        return int(answer["count(*)"])

    def close(self) -> None:
        self._client.close()

    def _upsert(self, ids, vectors, columns):
        if kind_of(ids) == "string" and max(len(each.encode()) for each in ids) > LONGEST:
            raise ValueError(f"Milvus keeps ids of up to {LONGEST} bytes here")
        records = [{} for _ in ids] if columns is None else columns.to_dict("records")
        rows = [
            {"id": id_, "vector": vector, **{k: v for k, v in record.items() if v == v}}
            for id_, vector, record in zip(ids.tolist(), vectors, records, strict=True)
        ]
        for start in range(0, len(rows), AT_ONCE):
            self._client.upsert(self.name, rows[start : start + AT_ONCE])

    def _delete(self, ids):
        before = len(self)
        for start in range(0, len(ids), AT_ONCE):
            self._client.delete(self.name, ids=ids[start : start + AT_ONCE].tolist())
        return before - len(self)

    def _search(self, queries, k, where):
        if k > MOST:
            raise ValueError(f"Milvus answers {MOST:,} items at most, asked for {k:,}")
        answers = self._client.search(
            self.name,
            data=list(queries),
            limit=k,
            filter=expression(where),
            consistency_level="Strong",
        )
        kind = object if self.id_type == "string" else np.int64
        ids = [np.array([hit["id"] for hit in hits], kind) for hits in answers]
        scores = [np.array([hit["distance"] for hit in hits], np.float32) for hits in answers]
        return ids, scores


def _library():
    try:
        import pymilvus
    except ImportError as error:
        raise ImportError("Milvus's client is not installed: pip install 'tf_recall[milvus]'") from error
    return pymilvus
