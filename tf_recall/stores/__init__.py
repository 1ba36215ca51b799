"""Live stores of vectors: items are added, changed and removed while queries run."""

from tf_recall.stores.base import Store
from tf_recall.stores.faiss import FaissFlat, FaissHNSW, FaissIVF
from tf_recall.stores.milvus import Milvus
from tf_recall.stores.scann import LiveScaNN

__all__ = ["FaissFlat", "FaissHNSW", "FaissIVF", "LiveScaNN", "Milvus", "Store"]
