"""The StoreSuite itself: whole, and no part of it hides another."""

import importlib
import pkgutil

from asyncinfer.testing import StoreSuite, store_suite
from asyncinfer.testing.store_suite.store_case import StoreCase


def test_every_part_is_in_the_suite() -> None:
    for module in pkgutil.iter_modules(store_suite.__path__, "asyncinfer.testing.store_suite."):
        importlib.import_module(module.name)
    parts = [part for part in StoreCase.__subclasses__() if part.__name__.endswith("Tests")]

    assert len(parts) > 30
    assert set(parts) <= set(StoreSuite.__mro__)


def test_no_part_of_the_suite_hides_a_test_of_another() -> None:
    defined = [name for part in StoreSuite.__mro__ for name in vars(part) if name.startswith("test_")]

    assert len(defined) > 300
    assert sorted(set(defined)) == sorted(defined)
