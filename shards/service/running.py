"""Start the service from its options, and stop it on SIGTERM."""

import logging
import os
import signal
import socket

import uvicorn

from synthspine.shards.building.names import BANK
from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.building.synthetic_samples import SyntheticSamples
from synthspine.shards.reading.open import open_set
from synthspine.shards.service.app import Extra, make_application
from synthspine.shards.service.connections import BoundedServer, OncePerSecond, most_connections
from synthspine.shards.service.delivery import Delivery
from synthspine.shards.service.middleware import LONGEST_HEADERS, LONGEST_TARGET
from synthspine.shards.service.options import ServeOptions
from synthspine.shards.service.sets import RenderedSet, StoredSet
from synthspine.shards.storage.cache import ShardCache


def serve(options: ServeOptions, extra: Extra | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish open requests.

    Missing label maps are made first, from the data or from the phantom, as ``shards/main.py`` does.

    Args:
        options: address, limits, sets.
        extra: what a later package adds.

    Raises:
        ValueError: other machines could reach the service without a token, or an option is invalid.
        OSError: the address cannot be used, or a file cannot be read or written.
    """
    token = options.token()
    with listening(options) as listener:
        delivery = make_delivery(options)
        host, port = listener.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        manifest = delivery.rendered.manifest
        counts = f"{manifest.samples:,} samples in {len(manifest.shards):,} shards"
        for line in (
            f"page and previews: {url}/",
            *(f"{title.lower()}: {url}{path}" for path, title in (extra.pages if extra else {}).items()),
            f"sets: {url}/v1/sets ({', '.join(delivery.sets)})",
            f"rendered on {manifest.made_with['device']}: {counts}; disk cache {options.cache_folder}",
            "data needs the token" if token else "no token: only this machine can send requests",
        ):
            print(line, flush=True)
        # After it has stopped uvicorn raises the signal once more; the command then ends with status 0.
        before = signal.signal(signal.SIGTERM, lambda *_: print("stopped", flush=True))
        server = make_server(delivery, options, token, extra)
        limit = OncePerSecond()
        loggers = [logging.getLogger(name) for name in ("asyncio", "uvicorn.error", "synthspine.service")]
        for logger in loggers:
            logger.addFilter(limit)
        try:
            server.run(sockets=[listener])
        finally:
            signal.signal(signal.SIGTERM, before)
            for logger in loggers:
                logger.removeFilter(limit)


def make_delivery(options: ServeOptions) -> Delivery:
    """The sets, the disk cache and the device.

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
    return Delivery(rendered, stored, cache, options)


def make_server(
    delivery: Delivery, options: ServeOptions, token: str | None, extra: Extra | None = None
) -> uvicorn.Server:
    """The HTTP server with its limits; run it with a listening socket."""
    config = uvicorn.Config(
        make_application(delivery, options, token, extra),
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="on",
        http="h11",  # only h11 limits what it buffers of an incomplete request
        ws="none",
        headers=[("X-Content-Type-Options", "nosniff")],
        timeout_graceful_shutdown=max(1, round(options.drain_s)),
        h11_max_incomplete_event_size=LONGEST_TARGET + LONGEST_HEADERS,
    )
    return BoundedServer(config, stall_s=options.stall_s, most=most_connections())


def listening(options: ServeOptions) -> socket.socket:
    """A socket that listens on the address of the options.

    Raises:
        OSError: the address does not exist, or is in use.
    """
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        listener = socket.create_server((options.host, options.port), family=family, backlog=1024)
    except OSError as error:
        where = f"{options.host}, port {options.port}"
        raise OSError(f"{where}: cannot listen there ({error.strerror or error})") from None
    # Connections inherit the number of the protocol; without it asyncio does not set TCP_NODELAY, and small
    # answers wait 40 ms for an acknowledgement.
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=listener.detach())
