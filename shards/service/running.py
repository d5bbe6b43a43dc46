"""Running the service: from choices to a port that answers, and back after SIGTERM."""

import os
import signal
import socket

import uvicorn

from synthspine.shards.building.sets import BANK, ensure_sets
from synthspine.shards.building.synthetic_samples import SyntheticSamples
from synthspine.shards.reading.open import open_set
from synthspine.shards.service.app import make_application
from synthspine.shards.service.delivery import Delivery
from synthspine.shards.service.middleware import LONGEST_HEADERS, LONGEST_TARGET
from synthspine.shards.service.options import ServeOptions
from synthspine.shards.service.sets import RenderedSet, StoredSet
from synthspine.shards.storage.cache import ShardCache

_BYTES_PER_PIXEL = 3
"""Of a sample: float16 and uint8."""
_FEWEST_CACHED = 8
"""Shards that the disk cache has to hold, at least."""


def serve(options: ServeOptions) -> None:
    """Serve until SIGTERM or Ctrl-C; what was begun is finished first.

    Label maps that are missing are read from the data, or made from the phantom, as ``shards/main.py`` does.

    Raises:
        ValueError: it would be open to others without a token, or a choice that cannot be.
        OSError: the address cannot be listened on, or a file cannot be read or written.
    """
    token = options.token()
    check_cache(options)
    with listening(options) as listener:
        delivery = make_delivery(options)
        host, port = listener.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        manifest = delivery.rendered.manifest
        print(f"page and previews: {url}/", flush=True)
        print(f"sets: {url}/v1/sets ({', '.join(delivery.sets)})", flush=True)
        counts = f"{manifest.samples:,} samples in {len(manifest.shards):,} shards"
        print(
            f"rendered on {manifest.made_with['device']}: {counts}; disk cache {options.cache_folder}",
            flush=True,
        )
        print("data needs the token" if token else "no token: for this machine alone", flush=True)
        # After a drain uvicorn raises the signal once more; the command then has ended well.
        before = signal.signal(signal.SIGTERM, lambda *_: print("stopped", flush=True))
        try:
            make_server(delivery, options, token).run(sockets=[listener])
        finally:
            signal.signal(signal.SIGTERM, before)


def make_delivery(options: ServeOptions) -> Delivery:
    """What the service serves, ready to be asked.

    Raises:
        ValueError: a set is missing or broken, or the folder of the disk cache cannot be written.
        OSError: a file cannot be read or written.
    """
    shards = options.shards
    places = ensure_sets({BANK, *options.also}, shards)
    cache = ShardCache(options.cache_folder, int(options.cache_gb * 1e9))
    cache.folder.mkdir(parents=True, exist_ok=True)
    if not os.access(cache.folder, os.W_OK):
        raise ValueError(f"{cache.folder}: cannot be written; choose another --cache-dir")
    cache.make_room()
    bank = open_set(places[BANK])
    samples = SyntheticSamples(places[BANK], shards)
    rendered = RenderedSet(samples, shards, bank.manifest.phantom, cache)
    stored = {name: StoredSet(open_set(places[name]), cache) for name in options.also}
    return Delivery(rendered, stored, cache, waiting=options.waiting, patience_s=options.patience_s)


def make_server(delivery: Delivery, options: ServeOptions, token: str | None) -> uvicorn.Server:
    """The HTTP server, with its bounds; run it with a socket that listens."""
    config = uvicorn.Config(
        make_application(delivery, options, token),
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="on",
        http="h11",  # it alone bounds what it keeps of a request that is not whole
        timeout_graceful_shutdown=max(1, round(options.drain_s)),
        h11_max_incomplete_event_size=LONGEST_TARGET + LONGEST_HEADERS,
    )
    return uvicorn.Server(config)


def check_cache(options: ServeOptions) -> None:
    """Refuse a disk cache that cannot hold a few shards.

    Raises:
        ValueError: it is too small; the text says how large it has to be.
    """
    rows, columns = options.shards.grid.shape
    shard = rows * columns * _BYTES_PER_PIXEL * options.shards.samples_per_shard
    if options.cache_gb * 1e9 < _FEWEST_CACHED * shard:
        raise ValueError(
            f"cache_gb {options.cache_gb:g} holds less than {_FEWEST_CACHED} shards of {shard / 1e6:.1f} MB; "
            f"take {_FEWEST_CACHED * shard / 1e9:.3g} or more"
        )


def listening(options: ServeOptions) -> socket.socket:
    """A socket that listens where it was asked for.

    Raises:
        OSError: the address is not there, or in use.
    """
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        return socket.create_server((options.host, options.port), family=family, backlog=1024)
    except OSError as error:
        where = f"{options.host}, port {options.port}"
        raise OSError(f"{where}: cannot be listened on ({error.strerror or error})") from None
