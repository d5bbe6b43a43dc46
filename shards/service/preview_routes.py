"""Routes of previews: pictures, and the configurations behind them."""

import dataclasses
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from synthspine.gen.config import config_diff
from synthspine.gen.presets import PRESETS, preset
from synthspine.shards.building.sets import BANK
from synthspine.shards.reading.rendered import etag_of
from synthspine.shards.service.conditional import names_tag
from synthspine.shards.service.delivery import Delivery
from synthspine.shards.service.description import CONFIG_PARAMETERS, PREVIEW_PARAMETERS, REFUSED
from synthspine.shards.service.options import ServeOptions
from synthspine.shards.service.previews import clearest_map
from synthspine.shards.service.responses import made
from synthspine.shards.service.settings import SLIDERS, Look, changes_as_yaml, look_of, python_call


def preview_routes(delivery: Delivery, options: ServeOptions) -> APIRouter:
    """``/v1/preview.png`` and ``/v1/config``."""
    router = APIRouter(prefix="/v1", tags=["previews"], responses=REFUSED)
    base = options.shards.generator()
    bank = delivery.rendered.samples.maps
    clearest, maps = clearest_map(bank.labels), len(bank.labels)

    def look(request: Request) -> Look:
        pairs = request.query_params.multi_items()
        query = dict(pairs)
        try:
            if len(query) < len(pairs):
                raise ValueError("a parameter is named twice")
            return look_of(query, base, seed=options.shards.seed, maps=maps, usual_map=clearest)
        except (TypeError, ValueError) as error:
            raise HTTPException(400, str(error)) from None

    @router.get("/preview.png", summary="One sample as a picture", **PREVIEW_PARAMETERS)
    @router.head("/preview.png", include_in_schema=False)
    async def preview_png(request: Request) -> Response:
        wanted = look(request)
        headers = {"ETag": etag_of(delivery.previews.key(wanted)), "Cache-Control": "no-cache"}
        if names_tag(request.headers.get("If-None-Match"), headers["ETag"]):
            return Response(None, 304, headers)
        return Response(await made(delivery.preview(wanted)), 200, headers, "image/png")

    @router.get("/config", summary="The configuration, of the set or of a preview", **CONFIG_PARAMETERS)
    @router.head("/config", include_in_schema=False)
    async def config(request: Request) -> dict[str, Any]:
        wanted, manifest = look(request), delivery.rendered.manifest
        return {
            "yaml": changes_as_yaml(wanted.config),
            "python": python_call(wanted, str(options.shards.place / BANK)),
            "changes": config_diff(wanted.config, preset("spine")),
            "config": dataclasses.asdict(wanted.config),
            "seed": wanted.seed,
            "index": wanted.index,
            "map": wanted.map,
            "maps": maps,
            "source": f"{bank.records[wanted.map]['source']}, slice {bank.records[wanted.map]['slice']}",
            "presets": list(PRESETS),
            "preset": options.shards.preset,
            "sliders": {
                name: {"meaning": text, "least": least, "greatest": greatest}
                for name, (text, least, greatest) in SLIDERS.items()
            },
            "set": {"name": manifest.name, "samples": manifest.samples, "identity": manifest.identity},
            "made_with": manifest.made_with,
        }

    return router
