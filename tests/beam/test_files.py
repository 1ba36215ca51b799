"""Files on Beam's file systems: whole or not there, and none of it by the local machine's own
means.
"""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip(
    "apache_beam", reason="tf_recall.beam needs apache-beam: pip install 'tf-recall[beam]'"
)

from apache_beam.io.filesystem import FileMetadata, FileSystem  # noqa: E402
from apache_beam.io.localfilesystem import LocalFileSystem  # noqa: E402

from tf_recall.beam.files import found, written  # noqa: E402
from tf_recall.beam.progress import Progress  # noqa: E402
from tf_recall.beam.tables import NUMBERS, WHOLE, Table  # noqa: E402

SCHEME = "elsewhere:/"


class Elsewhere(FileSystem):
    """A local folder under names that mean nothing to `open` and `os`."""

    local = LocalFileSystem(None)

    @classmethod
    def scheme(cls):
        return "elsewhere"

    def _list(self, prefix):
        for file in self.local._list(prefix.removeprefix(SCHEME)):
            yield FileMetadata(SCHEME + file.path, file.size_in_bytes, file.last_updated_in_seconds)

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path):
        return tuple(path.rsplit("/", 1))

    def mkdirs(self, path):
        self.local.mkdirs(path.removeprefix(SCHEME))

    def has_dirs(self):
        return False

    def create(self, path, *args, **kwargs):
        return self.local.create(path.removeprefix(SCHEME), *args, **kwargs)

    def open(self, path, *args, **kwargs):
        return self.local.open(path.removeprefix(SCHEME), *args, **kwargs)

    def rename(self, sources, targets):
        self.local.rename(
            *([path.removeprefix(SCHEME) for path in paths] for paths in (sources, targets))
        )

    def exists(self, path):
        return self.local.exists(path.removeprefix(SCHEME))

    def delete(self, paths):
        self.local.delete([path.removeprefix(SCHEME) for path in paths])

    copy = size = last_updated = checksum = metadata = None


def test_a_file_is_whole_or_not_there(tmp_path):
    with written(f"{tmp_path}/a") as file:
        file.write(b"first")
    with pytest.raises(MemoryError), written(f"{tmp_path}/a") as file:
        file.write(b"sec")
        raise MemoryError
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"first"]


@pytest.mark.parametrize("scheme", ["", SCHEME])
def test_tables_and_progress_are_where_beam_says(tmp_path, scheme):
    folder = f"{scheme}{tmp_path}"
    for name in "ab":
        with written(f"{folder}/in/{name}.parquet") as file:
            pq.write_table(pa.table({"row": [1, 2, 3, 4, 5]}), file, row_group_size=2)
    for pattern in (f"{folder}/in", f"{folder}/in/*.parquet", f"{folder}/in/?.parquet"):
        assert [file.path for file in found(pattern)] == [
            f"{folder}/in/a.parquet",
            f"{folder}/in/b.parquet",
        ]
    table = Table(f"{folder}/in", "rows", {"row": WHOLE})
    # Groups of 2, 2 and 1 rows in each file; a piece of work never spans two files.
    assert table.rows == 10 and [block.groups for block in table.blocks(4)] == [(0, 1), (2,)] * 2
    assert [
        row["row"] for batch in table.blocks(3)[1].batches(["row"], 9) for row in batch.to_pylist()
    ] == [3, 4, 5]

    with pytest.raises(ValueError, match="holds files and no manifest.json of an earlier run"):
        Progress(f"{folder}/in", {})
    progress = Progress(f"{folder}/out", {"a": 1, "b": 2})
    progress.finish("layer-1", {"rows": 5})
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["finished"] == {
        "layer-1": {"rows": 5}
    }
    assert Progress(f"{folder}/out", {"a": 1, "b": 2}).finished == {"layer-1": {"rows": 5}}
    with pytest.raises(
        ValueError, match="begun with other inputs, these differ: c, b. Choose another folder"
    ):
        Progress(f"{folder}/out", {"c": 3, "a": 1})
    with written(f"{folder}/out/layer-2/item/a.parquet") as file:
        file.write(b"half")
    progress.clear("layer-2/**")
    assert [path.name for path in tmp_path.glob("out/**/*") if path.is_file()] == ["manifest.json"]


def test_bad_tables_are_named(tmp_path):
    pq.write_table(pa.table({"row": [1], "weight": [1.0]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"row": [1]}), tmp_path / "b.parquet")
    with pytest.raises(
        ValueError, match="some files have the column 'weight', and .*b.parquet does not"
    ):
        Table(tmp_path, "edges", {"row": WHOLE}, {"weight": NUMBERS})
    (tmp_path / "b.parquet").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="b.parquet is no Parquet file, or is damaged"):
        Table(tmp_path, "edges", {"row": WHOLE})
