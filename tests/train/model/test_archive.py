"""Archives of weights: no changed bit is taken, neither in new files nor in those of earlier versions."""

import io
import os
import zipfile
from pathlib import Path

import pytest
import torch

from synthspine.train.model.archive import ArchiveError, pack_archive, read_archive, unpack_archive
from synthspine.train.model.checkpoint import CHECKPOINT_FORMAT, unpack_payload
from synthspine.train.model.pretrained import PRETRAINED

PAYLOAD = {"format": 1, "weights": torch.arange(6.0), "step": 3}


def of_an_earlier_version(payload=PAYLOAD):
    room = io.BytesIO()
    torch.save(payload, room)
    return room.getvalue()


def accepted(data):
    try:
        return unpack_archive(data)
    except Exception:
        return None


def same(payload):
    return payload.keys() == PAYLOAD.keys() and payload["weights"].equal(PAYLOAD["weights"])


def test_what_was_packed_comes_back_and_torch_itself_reads_it():
    data = pack_archive(PAYLOAD)
    assert same(unpack_archive(data))
    assert same(torch.load(io.BytesIO(data), weights_only=True))


def test_no_changed_bit_is_taken():
    data = pack_archive(PAYLOAD)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        assert accepted(bytes(changed)) is None, place


@pytest.mark.parametrize(
    "change", [lambda data: data + b"\0", lambda data: data[:-1], lambda data: b"x" + data]
)
def test_nothing_is_taken_with_more_or_fewer_bytes(change):
    for data in (pack_archive(PAYLOAD), of_an_earlier_version()):
        assert accepted(change(data)) is None


def test_a_file_without_its_digest_is_not_taken_for_one_of_an_earlier_version():
    data = pack_archive(PAYLOAD)
    end = data.rindex(b"PK\5\6")
    for blank in (
        data[: end + 20] + bytes(len(data) - end - 20),
        data[: end + 20] + b"\0\0" + data[end + 22 :],
    ):
        assert len(blank) == len(data)
        assert accepted(blank) is None


def test_one_bit_in_the_directory_of_an_earlier_file_changes_no_weight():
    data = of_an_earlier_version()
    assert same(unpack_archive(data))
    directory = data.index(b"PK\1\2")
    for place in range(8 * directory, 8 * len(data), 3):
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        found = accepted(bytes(changed))
        assert found is None or same(found), place


def test_an_entry_that_was_made_a_folder_is_read_as_what_it_is():
    data = bytearray(of_an_earlier_version())
    entry = data.rindex(b"/data/0")
    directory = data.rindex(b"PK\1\2", 0, entry)
    data[directory + 38] |= 0x10  # the bit of a folder, in the external attributes
    assert same(unpack_archive(bytes(data)))


def test_the_released_model_and_other_files_of_earlier_versions_are_read():
    data = PRETRAINED.read_bytes()
    assert unpack_payload(data, PRETRAINED, CHECKPOINT_FORMAT)["model"] == "A"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16])
def test_tensors_that_are_not_finite_are_named(value, kind):
    data = pack_archive({"state": {"head": [torch.tensor([1.0, value], dtype=kind)]}})
    with pytest.raises(ArchiveError, match=r"state\.head\.0 has values that are not finite"):
        unpack_archive(data)


def test_a_tensor_of_more_numbers_than_are_stored_is_refused():
    with pytest.raises(ArchiveError, match="longer than what is stored"):
        unpack_archive(pack_archive({"weight": torch.ones(1).expand(10**12)}))


@pytest.mark.parametrize("weight", [torch.eye(2).to_sparse(), torch.ones(2, device="meta")])
def test_other_kinds_of_tensors_are_refused(weight):
    assert accepted(pack_archive({"weight": weight})) is None


def test_records_that_unpack_to_gigabytes_are_refused():
    room = io.BytesIO()
    with zipfile.ZipFile(room, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**7))
    with pytest.raises(ArchiveError, match="packed or overlap"):
        unpack_archive(room.getvalue())


def test_of_a_file_of_another_kind_only_the_ends_are_read(tmp_path: Path):
    huge = tmp_path / "huge.pth"
    with huge.open("wb") as stream:
        stream.truncate(2**42)
    with pytest.raises(ArchiveError, match="does not begin or end"):
        read_archive(huge)
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(OSError, match="is not a regular file"):
        read_archive(tmp_path / "pipe.pth")
