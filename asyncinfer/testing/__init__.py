"""What a backend's author runs: the suites that every backend must pass, and the stand-ins that they are run with."""

from asyncinfer.testing.executor_suite import ExecutorSuite
from asyncinfer.testing.fake_clock import FakeClock
from asyncinfer.testing.faults import Fault, StoreCall
from asyncinfer.testing.faulty_store import FaultyStore
from asyncinfer.testing.store_suite import StoreSuite

__all__ = ["ExecutorSuite", "FakeClock", "Fault", "FaultyStore", "StoreCall", "StoreSuite"]
