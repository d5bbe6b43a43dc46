"""How well orders of samples are mixed."""

import numpy as np

from synthspine.shards.format.order import Order

BATCH = 64
BUFFER = 1000


def shuffle_quality(shards: int, per_shard: int) -> list[str]:
    """Our order, a buffer as WebDataset's, and a full permutation: a table in Markdown.

    Args:
        shards: number of shards.
        per_shard: samples in each.
    """
    size = shards * per_shard
    random = np.random.default_rng(0)
    places = Order([per_shard] * shards, 0).epoch(0)
    orders = {
        "ours": places.shards * per_shard + places.rows,
        f"shards shuffled, then a buffer of {BUFFER:,}": _buffered(shards, per_shard, random),
        "full permutation": random.permutation(size),
    }
    lines = [
        f"{shards:,} shards of {per_shard} samples, batches of {BATCH}. A window is as large as the buffer.",
        "",
        "| order | different shards in a batch, mean | least | most of one shard in a batch, mean | worst "
        "| neighbours of the same shard |",
        "|---|---|---|---|---|---|",
    ]
    for name, order in orders.items():
        batches = (order // per_shard)[: size // BATCH * BATCH].reshape(-1, BATCH)
        distinct = [len(set(row)) for row in batches.tolist()]
        most = [int(np.bincount(row).max()) for row in batches]
        same = float(np.mean(np.diff(order // per_shard) == 0))
        lines.append(
            f"| {name} | {np.mean(distinct):.1f} | {min(distinct)} | {np.mean(most):.1f} | {max(most)} "
            f"| {100 * same:.2f} % |"
        )
    return lines


def _buffered(shards: int, per_shard: int, random: np.random.Generator) -> np.ndarray:
    """Shards in random order, their samples through a buffer from which one is drawn for each that comes."""
    buffer: list[int] = []
    out = []
    for number in (random.permutation(shards)[:, None] * per_shard + np.arange(per_shard)).ravel().tolist():
        buffer.append(number)
        if len(buffer) >= BUFFER:
            out.append(buffer.pop(int(random.integers(len(buffer)))))
    return np.array(out + [buffer[index] for index in random.permutation(len(buffer))])
