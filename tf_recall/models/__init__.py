"""The model zoo: one file is one paper; each is a recipe of positives, negatives, towers and loss."""

from tf_recall.models.two_tower import TwoTower

__all__ = ["TwoTower"]
