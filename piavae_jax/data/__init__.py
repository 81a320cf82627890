"""Interactions in, prepared data sets out: readers, split protocols, the generator and the format on disk.

The names are listed in `__init__.pyi` and load when first used: reading a prepared data set needs no JAX.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
