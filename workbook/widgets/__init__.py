"""Every interactive a lesson shows: whatever the modules in this folder say in their `__all__`.

`interactive.py` says how one is made.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    _found = import_module(f"{__name__}.{_module.name}")
    globals().update({name: getattr(_found, name) for name in getattr(_found, "__all__", ())})
