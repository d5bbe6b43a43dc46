"""Options of the service: address, token, disk cache, limits."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from synthspine.gen.core.documents import UnfitFile, read_text
from synthspine.shards.building.names import BANK, LABELS_VAL, SETS, SYNTHETIC
from synthspine.shards.building.options import ShardOptions
from synthspine.shards.format.manifest import MOST_SHARDS
from synthspine.shards.storage.auth import TOKEN_VARIABLE, is_this_machine, token_from_environment
from synthspine.shards.storage.cache import user_cache_folder

_TOKEN_BYTES = 4096
"""Of a file with a token, at most."""
SHORTEST_TOKEN = 16
"""Characters of a token, at least."""

_BYTES_PER_PIXEL = 3
"""Of a sample: float16 and uint8."""
_FEWEST_CACHED = 8
"""Shards that the disk cache must be able to hold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeOptions:
    """Address, token, disk cache and limits of the service."""

    host: str = "127.0.0.1"
    """Address to listen on; any other than this machine's own (127.0.0.1, ::1, localhost) needs a token."""
    port: int = 8080
    """Port to listen on; 0 for any free port."""
    token_file: Path | None = None
    """File with the token that requests must carry; by default that of SYNTHSPINE_TOKEN, if set."""
    cache_dir: Annotated[Path | None, tyro.conf.arg(aliases=["--spool-dir"])] = None
    """Folder for rendered shards; by default synthspine/rendered in the user's cache folder."""
    cache_gb: Annotated[float, tyro.conf.arg(aliases=["--spool-gb"])] = 10.0
    """Size of that folder, 10^9 bytes; the least recently used shards are removed first."""
    waiting: int = 64
    """Number of shards that may wait to be rendered; further requests get 503 and Retry-After."""
    patience_s: float = 45.0
    """Longest time that a request waits for its shard, seconds."""
    stall_s: float = 60.0
    """Longest time that a client may take to read a piece (1 MiB) of a response, seconds."""
    hosts: tuple[str, ...] = ()
    """Names of this service, such as that of a proxy, to which it answers without a token besides its address
    and localhost: a foreign page in a browser can give itself any other name."""
    requests: int = 256
    """Number of requests that are answered at a time."""
    drain_s: float = 30.0
    """Time to finish open requests after SIGTERM, seconds."""
    also: tuple[str, ...] = (BANK, LABELS_VAL)
    """Stored sets of the shards folder that are served, too."""
    shards: tyro.conf.OmitArgPrefixes[ShardOptions] = field(default_factory=ShardOptions)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port {self.port} is outside 0..65535")
        for name in ("waiting", "requests"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} must be at least 1")
        for name in ("patience_s", "stall_s", "drain_s", "cache_gb"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} {getattr(self, name)} must be more than 0")
        for name in self.also:
            if name not in SETS or name == SYNTHETIC:
                stored = ", ".join(other for other in SETS if other != SYNTHETIC)
                raise ValueError(f"also: {name} is not a stored set; there are {stored}")
        rows, columns = self.shards.grid.shape
        shard_gb = rows * columns * _BYTES_PER_PIXEL * self.shards.samples_per_shard / 1e9
        if self.cache_gb < _FEWEST_CACHED * shard_gb:
            found = f"holds less than {_FEWEST_CACHED} shards of {shard_gb:.3g} GB"
            least = f"at least {_FEWEST_CACHED * shard_gb:.3g} are needed"
            raise ValueError(f"cache_gb {self.cache_gb:g} {found}; {least}")
        shards = -(-self.shards.synthetic_samples // self.shards.samples_per_shard)
        if shards > MOST_SHARDS:
            raise ValueError(
                f"synthetic_samples {self.shards.synthetic_samples} make {shards:,} shards; at most "
                f"{MOST_SHARDS:,} are served: use a greater --samples-per-shard, or several services with "
                "different --seed"
            )

    def answers_to(self, host: str) -> bool:
        """Whether a service without a token answers a request that names this host, without its port."""
        return is_this_machine(host) or host in {name.lower() for name in (self.host, *self.hosts)}

    @property
    def cache_folder(self) -> Path:
        """Folder for rendered shards."""
        return self.cache_dir or user_cache_folder() / "rendered"

    def token(self) -> str | None:
        """The token that requests must carry; None if everybody on this machine may send requests.

        Raises:
            OSError: the file cannot be read.
            ValueError: the token is too short or has other characters than printable ASCII, or there is none
                and other machines could reach the service.
        """
        if self.token_file is None:
            token, source = token_from_environment(), TOKEN_VARIABLE
        else:
            token, source = _read_token(self.token_file), str(self.token_file)
        if token is None:
            if not is_this_machine(self.host):
                raise ValueError(
                    f"host {self.host}: other machines can reach it, so a token is needed; set "
                    f"{TOKEN_VARIABLE} or give --token-file "
                    "(python -c 'import secrets; print(secrets.token_urlsafe())' makes a token)"
                )
            return None
        if len(token) < SHORTEST_TOKEN or not (token.isascii() and token.isprintable() and " " not in token):
            expected = f"{SHORTEST_TOKEN} or more letters, digits and signs, without spaces"
            raise ValueError(f"{source}: a token has {expected}")
        return token


def _read_token(path: Path) -> str:
    try:
        return read_text(path, _TOKEN_BYTES).strip()
    except UnfitFile as error:
        raise UnfitFile(f"{path}: {error}") from None
