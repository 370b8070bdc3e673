"""Labelled data that trainings share, by name: images, event streams in frames, simulated event clips."""

from .binning import Binning as Binning
from .dataset import DataSet as DataSet
from .dataset import Part as Part
from .sources import load as load
