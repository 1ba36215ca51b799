"""A store on Milvus: embedded in a file, or a server by its address."""

import logging
from typing import ClassVar

import numpy as np

from tf_recall.data.ids import dtype_of, kind_of
from tf_recall.data.names import check_name
from tf_recall.stores.base import Store
from tf_recall.stores.conditions import expression

LONGEST = 512  # bytes of an id
EXPORT = "tf_recall.export"  # a collection's property
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
        export: the digest of the export whose vectors a new collection is for.

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
        export: str | None = None,
    ) -> None:
        super().__init__(dim)
        check_name("name", name)
        self.name = name
        self.id_type = id_type
        self._client = _client(uri, token)
        if self._client.has_collection(name):
            self._check_same()
        else:
            self._create(export)
        self.export = self._client.describe_collection(name).get("properties", {}).get(EXPORT)
        self._client.load_collection(name)

    @classmethod
    def open(cls, uri: str, name: str, token: str = "") -> "Milvus":
        """A collection, or an alias of one, that is there.

        Raises:
            FileNotFoundError: there is none of this name.
            ConnectionError, ImportError: as the constructor.
        """
        client = _client(uri, token)
        if not client.has_collection(name):
            raise FileNotFoundError(
                f"Milvus at {uri} has no collection {name!r}, only {client.list_collections()}"
            )
        dim, id_type = _shape(client, name)
        return cls(dim, uri, name, id_type, token)

    @staticmethod
    def collections(uri: str, name: str) -> list[int]:
        """The numbers n of the collections `name_n`, rising."""
        found = _client(uri, "").list_collections()
        numbers = [each.removeprefix(f"{name}_") for each in found if each.startswith(f"{name}_")]
        return sorted(int(each) for each in numbers if each.isdecimal())

    @staticmethod
    def target(uri: str, name: str) -> str | None:
        """The collection that an alias, or a collection's own name, names; None for none."""
        client = _client(uri, "")
        if name in client.list_collections():
            return name
        return (
            client.describe_alias(name)["collection_name"] if client.has_collection(name) else None
        )

    def publish(self, alias: str, before: list[str]) -> None:
        """Makes an alias name this collection, in one step, and removes those before it.

        Args:
            alias: what whoever asks opens.
            before: names of collections.

        Raises:
            ValueError: a collection has the alias as its name.
        """
        if alias in self._client.list_collections():
            raise ValueError(f"{alias!r} is a collection, no alias of one: choose another name")
        known = self._client.has_collection(alias)
        name_it = self._client.alter_alias if known else self._client.create_alias
        name_it(self.name, alias)
        for each in before:
            self._client.drop_collection(each)

    def _create(self, export):
        kinds = _library().DataType
        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=True)
        if self.id_type == "string":
            schema.add_field("id", kinds.VARCHAR, is_primary=True, max_length=LONGEST)
        else:
            schema.add_field("id", kinds.INT64, is_primary=True)
        schema.add_field("vector", kinds.FLOAT_VECTOR, dim=self.dim)
        index = self._client.prepare_index_params()
        index.add_index("vector", index_type="AUTOINDEX", metric_type="IP")
        self._client.create_collection(
            self.name,
            schema=schema,
            index_params=index,
            consistency_level="Strong",
            properties={} if export is None else {EXPORT: export},
        )

    def _check_same(self):
        dim, id_type = _shape(self._client, self.name)
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
        if k > MOST and (k := min(k, len(self))) > MOST:
            raise ValueError(f"Milvus answers {MOST:,} items at most, asked for {k:,}")
        answers = self._client.search(
            self.name,
            data=list(queries),
            limit=k,
            filter=expression(where),
            consistency_level="Strong",
        )
        kind = dtype_of(self.id_type)
        ids = [np.array([hit["id"] for hit in hits], kind) for hits in answers]
        scores = [np.array([hit["distance"] for hit in hits], np.float32) for hits in answers]
        return ids, scores


def _client(uri, token):
    milvus = _library()
    # Milvus Lite logs a trace for each call of newer clients that it does not know
    logging.getLogger("grpc._server").setLevel(logging.CRITICAL)
    try:
        return milvus.MilvusClient(uri=uri, token=token)
    except milvus.MilvusException as error:
        raise ConnectionError(f"Milvus does not answer at {uri}: {error.message}") from error


def _shape(client, name):
    """The length of a collection's vectors, and the type of its ids."""
    fields = {field["name"]: field for field in client.describe_collection(name)["fields"]}
    dim = int(fields.get("vector", {}).get("params", {}).get("dim", 0))
    text = fields.get("id", {}).get("type") == _library().DataType.VARCHAR
    return dim, "string" if text else "int64"


def _library():
    try:
        import pymilvus
    except ImportError as error:
        raise ImportError(
            "Milvus's client is not installed: pip install 'tf_recall[milvus]'"
        ) from error
    return pymilvus
