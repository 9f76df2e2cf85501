"""The TensorBoard sink, read back by TensorBoard's own reader."""

import pytest

pytest.importorskip("tensorboard")

from maquette.train.metrics import TensorBoard

pytestmark = pytest.mark.against("tensorboard")


def test_scalars_can_be_read_back(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sink = TensorBoard(tmp_path)
    for step in (1, 2):
        sink.write(step, {"loss": 1.0 / step})
    sink.writer.flush()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 1.0), (2, 0.5)]
