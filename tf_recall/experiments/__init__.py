"""Experiments on users (METHODS.md Y4): who sees what, and what it changed.

    hashing -> plan (arms, hold-out, roll-outs) -> file (YAML), analysis -> command
    lifts, power -> analysis

A *layer* splits all users into buckets by a hash with its name as salt. Experiments in one layer
share its buckets, so nobody is in two of them; two layers are independent, so each sees the other
alike in all its arms. Nothing of it needs TensorFlow.
"""
