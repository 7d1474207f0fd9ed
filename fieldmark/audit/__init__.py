"""Audit of a classifier that somebody else trained: how much does it lean on the background?"""
