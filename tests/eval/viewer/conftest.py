import numpy as np
import pytest

from synthspine.eval.prediction.options import PredictOptions
from synthspine.eval.prediction.prediction import predict
from synthspine.gen.phantom.series import phantom_series
from synthspine.shards.readers.spider import write_mha


@pytest.fixture(scope="session")
def scan(tmp_path_factory):
    """A file with three middle slices of a phantom patient."""
    series = phantom_series(5, 99_999, "t2")
    middle = round(np.argwhere(series.mask == 100)[:, 0].mean())
    slices = slice(middle - 1, middle + 2)
    path = tmp_path_factory.mktemp("scans") / "phantom.mha"
    write_mha(series.image[slices], series.spacing_mm, series.storage, path)
    return path


@pytest.fixture(scope="session")
def predicted(scan, tmp_path_factory):
    """What the command makes of it."""
    folder = tmp_path_factory.mktemp("masks")
    options = PredictOptions(images=(scan,), format="nii.gz", output_dir=folder, device="cpu")
    (prediction,) = predict(options)
    return prediction


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    pytest.importorskip("fastapi", reason="the service needs the extra serve")
    from service_thread import running, serve_options

    from synthspine.eval.viewer.routes import viewer

    with running(serve_options(tmp_path_factory.mktemp("service")), extra=viewer("cpu")) as service:
        yield service
