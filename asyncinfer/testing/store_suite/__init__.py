"""StoreSuite: what every store must do, cut by operation."""

from asyncinfer.testing.store_suite.batch_waits import BatchFairnessTests, BatchWaitTests
from asyncinfer.testing.store_suite.batches import BatchTests
from asyncinfer.testing.store_suite.cancel import CancelMatchingTests, CancelTests
from asyncinfer.testing.store_suite.claim import ClaimTests, ExpiredHeadTests, ReadinessTests
from asyncinfer.testing.store_suite.deliveries import (
    DeliveryListTests,
    DeliveryTests,
    EndpointTests,
    RedeliverTests,
    SettleTests,
)
from asyncinfer.testing.store_suite.events import AttemptTests, ChangeTests, EventTests
from asyncinfer.testing.store_suite.expire import ClockJumpTests, ExpireTests
from asyncinfer.testing.store_suite.extend import ExtendTests, LeaseListTests
from asyncinfer.testing.store_suite.fairness import ModelTests, OwnerTests, PriorityTests, TagTests
from asyncinfer.testing.store_suite.find import CountTests, FindTests, GetTests, PageTests, PositionTests
from asyncinfer.testing.store_suite.finish import FenceTests, FinishTests, MoveIdTests, RetryTests
from asyncinfer.testing.store_suite.give_back import GiveBackTests
from asyncinfer.testing.store_suite.hostile import BinaryTests, HostileCallTests, HostileInsertTests, OddNameTests
from asyncinfer.testing.store_suite.insert import InsertTests
from asyncinfer.testing.store_suite.interruptions import InterruptionTests
from asyncinfer.testing.store_suite.keys import DedupTests, KeyTests, ReplayTests
from asyncinfer.testing.store_suite.lifetime import CloseTests, ReopenTests, SharedTests
from asyncinfer.testing.store_suite.limits import LimitTests
from asyncinfer.testing.store_suite.owed import OwedTests
from asyncinfer.testing.store_suite.pause import PauseTests
from asyncinfer.testing.store_suite.prune import DeleteTests, PruneTests, PurgeTests
from asyncinfer.testing.store_suite.record import (
    CheckpointTests,
    OutputTests,
    ProgressTests,
    RecordFenceTests,
    RecordMoveIdTests,
)
from asyncinfer.testing.store_suite.rescue import DeathTests, RescueTests
from asyncinfer.testing.store_suite.solo import SoloTests
from asyncinfer.testing.store_suite.workers import PublishedModelTests, WorkerTests
from asyncinfer.testing.store_suite.zero import ZeroTests


class StoreSuite(
    InsertTests,
    KeyTests,
    DedupTests,
    ReplayTests,
    LimitTests,
    ZeroTests,
    ClaimTests,
    ReadinessTests,
    ExpiredHeadTests,
    OwnerTests,
    PriorityTests,
    TagTests,
    ModelTests,
    BatchTests,
    BatchWaitTests,
    BatchFairnessTests,
    SoloTests,
    ExtendTests,
    LeaseListTests,
    ProgressTests,
    OutputTests,
    CheckpointTests,
    RecordFenceTests,
    RecordMoveIdTests,
    FinishTests,
    FenceTests,
    MoveIdTests,
    RetryTests,
    GiveBackTests,
    CancelTests,
    CancelMatchingTests,
    RescueTests,
    DeathTests,
    ExpireTests,
    ClockJumpTests,
    PruneTests,
    DeleteTests,
    PurgeTests,
    PauseTests,
    GetTests,
    FindTests,
    PageTests,
    CountTests,
    PositionTests,
    EventTests,
    AttemptTests,
    ChangeTests,
    OwedTests,
    DeliveryTests,
    SettleTests,
    DeliveryListTests,
    RedeliverTests,
    EndpointTests,
    WorkerTests,
    PublishedModelTests,
    HostileInsertTests,
    OddNameTests,
    HostileCallTests,
    BinaryTests,
    InterruptionTests,
    CloseTests,
    ReopenTests,
    SharedTests,
):
    """Everything that a store promises, as tests. A backend's author writes one class in one file:

        from asyncinfer.testing import StoreSuite

        class TestPostgresStore(StoreSuite):
            def make_store(self, clock: Clock, place: Path) -> JobStore:
                return PostgresStore(os.environ["TEST_DSN"], namespace=str(place), clock=clock)

    It needs pytest and pytest-asyncio (any mode) and nothing of this repository. Behaviours that need what the store
    does not have are skipped by its `features`. The clock is a FakeClock: a store must take its time and its timers
    from the clock it is lent. To have failing asserts explained, put into conftest.py, before the first import:

        pytest.register_assert_rewrite("asyncinfer.testing")
    """


__all__ = ["StoreSuite"]
