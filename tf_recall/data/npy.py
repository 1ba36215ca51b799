"""Arrays in .npy files, written and read with a check."""

from pathlib import Path

import numpy as np

from tf_recall.data.errors import one_line


def write_array(path: str | Path, array: np.ndarray) -> None:
    """Writes an array, as `np.save` does, which hides that a disk is full where 4 kB are missing.

    Args:
        path: the file.
        array: of numbers or of text, not of objects, of at least one dimension.

    Raises:
        OSError: the disk is full or refuses.
    """
    array = np.ascontiguousarray(array)
    with open(path, "wb") as file:
        header = np.lib.format.header_data_from_array_1_0(array)
        np.lib.format.write_array_header_1_0(file, header)
        file.write(array.reshape(-1).view(np.uint8))


def read_array(
    path: str | Path, kinds: str, mapped: bool = False, ndim: int | None = 1
) -> np.ndarray:
    """The array of an .npy file.

    Args:
        path: the file.
        kinds: NumPy's letters for the kinds of number that it may hold, such as "i" or "if".
        mapped: as a read-only memory map, of which only what is asked for is read.
        ndim: how many dimensions it must have; None: any number.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged or cut short, or holds something else.

    Example:
        >>> np.save("counts.npy", np.arange(3))
        >>> read_array("counts.npy", "i")
        array([0, 1, 2])
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            np.lib.format.read_magic(file)  # not of an archive, nor a pickle
            if not mapped:
                file.seek(0)
                array = np.lib.format.read_array(file, allow_pickle=False)
                if file.read(1):
                    raise ValueError("there is more in it than its array")
        if mapped:
            array = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise
    except Exception as error:  # a header may be anything
        raise ValueError(f"{path} is damaged: {one_line(error)}") from error
    if array.ndim != (array.ndim if ndim is None else ndim) or array.dtype.kind not in kinds:
        raise ValueError(f"{path} is damaged: it holds {array.dtype} {array.shape}")
    return array
