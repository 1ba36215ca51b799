"""The models: each file is one paper, a choice of positives, negatives, towers and loss."""

from tf_recall.models.airbnb_i2i import AirbnbI2I
from tf_recall.models.airbnb_u2i import AirbnbU2I
from tf_recall.models.als import ALS
from tf_recall.models.comirec import ComiRec
from tf_recall.models.eges import EGES
from tf_recall.models.fm import FM
from tf_recall.models.graph_sage import GraphSAGE
from tf_recall.models.graph_sage_i2i import GraphSAGEI2I
from tf_recall.models.graph_tr import GraphTR
from tf_recall.models.gru4rec import GRU4Rec
from tf_recall.models.item2vec import Item2Vec
from tf_recall.models.light_gcn import LightGCN
from tf_recall.models.matrix_completion import MatrixCompletion
from tf_recall.models.mind import MIND
from tf_recall.models.multi_bi_sage import MultiBiSage
from tf_recall.models.pin_sage import PinSage
from tf_recall.models.sasrec import SASRec
from tf_recall.models.sdm import SDM
from tf_recall.models.siamese import Siamese
from tf_recall.models.simplex import SimpleX
from tf_recall.models.two_tower import TwoTower
from tf_recall.models.youtube_dnn import YouTubeDNN

__all__ = [
    "ALS",
    "EGES",
    "FM",
    "MIND",
    "SDM",
    "AirbnbI2I",
    "AirbnbU2I",
    "ComiRec",
    "GraphSAGE",
    "GRU4Rec",
    "GraphSAGEI2I",
    "GraphTR",
    "Item2Vec",
    "LightGCN",
    "MatrixCompletion",
    "MultiBiSage",
    "PinSage",
    "SASRec",
    "Siamese",
    "SimpleX",
    "TwoTower",
    "YouTubeDNN",
]
