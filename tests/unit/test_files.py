"""Files that are whole or absent, and seeds that are the same everywhere."""

import errno
import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError

from maquette.core.devices import pick_device
from maquette.core.errors import UserError, did_you_mean
from maquette.core.files import (
    as_user_error,
    fingerprint,
    read_json,
    refuse_unwritable,
    replacing,
    sha256,
    sole_writer,
    write_json,
    write_text,
)
from maquette.core.seeds import child_seed, numpy_generator, rows_of_batch, seed_everything, torch_generator


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_clean_exit_replaces_the_file_and_leaves_nothing_beside_it(tmp_path):
    target = tmp_path / "new" / "folder" / "a.txt"
    for text in ("one", "two"):
        with replacing(target) as temporary:
            temporary.write_text(text)
            assert temporary.parent == target.parent, "another file system could not take its place in one step"
        assert target.read_text() == text
    assert names(target.parent) == ["a.txt"]
    assert target.stat().st_mode & 0o777 == 0o644


def test_an_error_inside_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(ZeroDivisionError), replacing(target) as temporary:
        temporary.write_text(f"half of the n {1 / 0}")
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_kill_inside_leaves_the_old_file(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    program = (
        "import os, sys, pathlib; from maquette.core.files import replacing\n"
        "with replacing(pathlib.Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "a.txt")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
    ids=["full", "quota", "safetensors"],
)
def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path, error):
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(UserError, match=r"The disk is full: .*a\.txt was not written") as caught, replacing(target):
        raise error
    assert "\n" not in str(caught.value)
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_other_refusals_keep_the_systems_reason(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match=r"Cannot write .*; choose a folder"):
        write_text(tmp_path / "file" / "a.txt", "x")
    with pytest.raises(UserError, match="Cannot write"), sole_writer(tmp_path / "file" / "run"):
        pass
    assert "no rows" in str(as_user_error(SafetensorError("no rows"), tmp_path))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=["Cs"])),
        lambda v: st.lists(v) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), v),
        max_leaves=8,
    )
)
def test_json_comes_back_as_it_was(tmp_path, value):
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value


def test_json_without_a_meaning_is_not_written(tmp_path):
    write_json(tmp_path / "a.json", {"loss": 1.0})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert read_json(tmp_path / "a.json") == {"loss": 1.0}
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize(
    "content", [b"", b'{"step": 1', b"\xff\xfe\x00", None], ids=["empty", "cut", "bytes", "missing"]
)
def test_unreadable_json_is_one_sentence_naming_the_file(tmp_path, content):
    path = tmp_path / "state.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"state\.json"):
        read_json(path)


def test_sha256_is_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_fingerprint_follows_the_value_not_the_order_of_keys():
    assert fingerprint({"a": 1, "b": [1.5, None]}) == fingerprint({"b": [1.5, None], "a": 1})
    assert len({fingerprint(v) for v in ({"a": 1}, {"a": 2}, {"a": "1"}, {"b": 1}, [["a", 1]], {"a": 1.5})}) == 6
    assert len(fingerprint([])) == 16


def test_a_directory_has_one_writer_until_it_lets_go(tmp_path):
    with sole_writer(tmp_path), pytest.raises(UserError, match="in use by another run"), sole_writer(tmp_path):
        pass
    with sole_writer(tmp_path):
        pass
    with pytest.raises(ZeroDivisionError), sole_writer(tmp_path):
        1 / 0  # noqa: B018
    with sole_writer(tmp_path):
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    program = (
        "import sys, time, pathlib; from maquette.core.files import sole_writer\n"
        "with sole_writer(pathlib.Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="in use by another run"), sole_writer(tmp_path):
            pass
        other.kill()
        other.wait()
    with sole_writer(tmp_path):
        pass


def test_the_nearest_name_is_suggested_or_all_are_listed():
    assert did_you_mean("scaling_lwas", ["coconut", "scaling_laws"]) == "did you mean 'scaling_laws'?"
    assert did_you_mean("xyz", ["b", "a"]) == "known: a, b."
    assert did_you_mean("xyz", []) == "known: none."


def test_seeds_are_the_same_on_every_machine():
    """SHA-256 of "0/initialise", first eight bytes, halved."""
    assert child_seed(0, "initialise") == 6_392_155_953_657_021_357


def test_streams_are_named_and_do_not_shift_one_another():
    seeds = [child_seed(s, *n) for s in range(20) for n in ((), ("a",), ("b",), ("a", 1), ("a", 2), ("a", "b"))]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert torch.equal(
        torch.rand(3, generator=torch_generator(1, "a")), torch.rand(3, generator=torch_generator(1, "a"))
    )
    assert (numpy_generator(1, "a").random(3) != numpy_generator(1, "b").random(3)).all()


def test_batches_read_pass_after_pass_each_row_once_and_in_another_order():
    read = [row for step in range(7) for row in rows_of_batch(step, 4, 14, 3, "rows")]
    first, second = read[:14], read[14:]
    assert sorted(first) == sorted(second) == list(range(14))
    assert first != second
    assert rows_of_batch(3, 4, 14, 3, "rows") == read[12:16], "a step's batch does not depend on those before"
    assert rows_of_batch(0, 4, 14, 3, "others") != read[:4]


def test_seeding_everything_repeats_every_generator():
    def draw(seed):
        seed_everything(seed)
        return random.random(), np.random.rand(), float(torch.rand(()))

    assert draw(1) == draw(1)
    assert all(a != b for a, b in zip(draw(1), draw(2), strict=True))


@pytest.mark.parametrize("name", ["gpu", "cuda:99", ""])
def test_a_device_that_is_not_there_is_one_sentence(name):
    with pytest.raises(UserError, match="give 'auto' or 'cpu'"):
        pick_device(name)
    assert pick_device("cpu") == torch.device("cpu")


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    refuse_unwritable(tmp_path / "not" / "yet" / "there")
    assert not (tmp_path / "not").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"Cannot write .*out: .*file is a file; choose a folder you may write to"):
        refuse_unwritable(tmp_path / "file" / "out")
    if os.geteuid():  # the superuser may write anywhere
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(UserError, match="Permission denied; choose a folder"):
            refuse_unwritable(tmp_path / "closed" / "out")
