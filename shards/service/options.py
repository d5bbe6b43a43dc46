"""What can be chosen about the service, and who may reach it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from synthspine.shards.building.options import ShardOptions
from synthspine.shards.building.sets import BANK, LABELS_VAL, SETS, SYNTHETIC
from synthspine.shards.storage.auth import TOKEN_VARIABLE, is_this_machine, token_from_environment
from synthspine.shards.storage.cache import user_cache_folder

SHORTEST_TOKEN = 16
"""Characters of a token, at least."""
MOST_SHARDS = 100_000
"""Shards of a set that is rendered on demand: its manifest lists them all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeOptions:
    """Where the service listens, what it keeps, and how much it takes on."""

    host: str = "127.0.0.1"
    """Address to listen on; any but this machine's own (127.0.0.1, ::1, localhost) needs a token."""
    port: int = 8080
    """Port to listen on; 0 for any that is free."""
    token_file: Path | None = None
    """File with the token that requests have to carry; by default that of SYNTHSPINE_TOKEN, if it is set."""
    cache_dir: Annotated[Path | None, tyro.conf.arg(aliases=["--spool-dir"])] = None
    """Folder for rendered shards; by default synthspine/rendered in the user's cache folder."""
    cache_gb: Annotated[float, tyro.conf.arg(aliases=["--spool-gb"])] = 10.0
    """Size of that folder, 10^9 bytes; the least recently used shards are removed first."""
    waiting: int = 64
    """Shards that may wait to be rendered; who asks for more is told to come again."""
    patience_s: float = 45.0
    """Longest time that a request waits for its shard, seconds."""
    stall_s: float = 60.0
    """Longest time that a client may take for a piece (1 MiB) of an answer, seconds."""
    requests: int = 256
    """Requests that are answered at a time."""
    drain_s: float = 30.0
    """Time to finish what was begun after SIGTERM, seconds."""
    also: tuple[str, ...] = (BANK, LABELS_VAL)
    """Complete sets of the shards folder that are served as they lie there."""
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
                raise ValueError(f"also: {name} is no set that is stored; there are {stored}")
        shards = -(-self.shards.synthetic_samples // self.shards.samples_per_shard)
        if shards > MOST_SHARDS:
            raise ValueError(
                f"synthetic_samples {self.shards.synthetic_samples} make {shards:,} shards; at most "
                f"{MOST_SHARDS:,} are served: take a greater --samples-per-shard, or more sets by --seed"
            )

    @property
    def cache_folder(self) -> Path:
        """Folder for rendered shards."""
        return self.cache_dir or user_cache_folder() / "rendered"

    def token(self) -> str | None:
        """The token that requests have to carry; None if anybody on this machine may ask.

        Raises:
            OSError: the file cannot be read.
            ValueError: the token is too short or no plain text, or there is none and others could reach the
                service.
        """
        if self.token_file is None:
            token, source = token_from_environment(), TOKEN_VARIABLE
        else:
            token, source = self.token_file.read_text(encoding="utf-8").strip(), str(self.token_file)
        if token is None:
            if not is_this_machine(self.host):
                raise ValueError(
                    f"host {self.host}: others can reach it, so a token is needed; set {TOKEN_VARIABLE} or "
                    "give --token-file (python -c 'import secrets; print(secrets.token_urlsafe())' makes one)"
                )
            return None
        if len(token) < SHORTEST_TOKEN or not (token.isascii() and token.isprintable() and " " not in token):
            raise ValueError(
                f"{source}: a token is {SHORTEST_TOKEN} or more letters, digits and signs, without spaces"
            )
        return token
