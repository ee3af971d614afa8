"""Transforms that torchvision lacks, and a recipe's transforms one after another; imported by who trains only."""
