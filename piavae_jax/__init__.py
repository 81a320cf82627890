"""VAE-based collaborative filtering in JAX: Multi-VAE, PIA, and what they need from data to recommendation.

Pure functions, the research API: `losses`, `ranking_losses`, `masking`, `models`, `priors`, `sampling`, `schedules`,
`sparse` and, for tables of items that are split over devices, `item_parallel`, with the containers of `types`. The
names are listed in `__init__.pyi` and load when first used, so that commands that need no JAX start without it.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
