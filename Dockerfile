# The command synthspine in an image: the service by default, and training, prediction and all else.
#
#   docker build -t synthspine .                                   # CPU
#   docker build -t synthspine --build-arg TORCH=cu126 .           # NVIDIA GPU
#   docker run -p 8080:8080 -v sets:/data -e SYNTHSPINE_TOKEN synthspine
#   docker run --gpus all -v sets:/data synthspine train --model A ...
#   docker run -v "$PWD":/data synthspine predict /data/scan.nii.gz --output-dir /data/masks
FROM python:3.11-slim AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY gen gen
COPY shards shards
COPY train train
COPY eval eval
COPY models/pretrained models/pretrained
# Links to the folders above: the package that is imported.
COPY synthspine synthspine
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheel .

FROM python:3.11-slim
ARG TORCH=cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
WORKDIR /app
# Without data, the phantom is written to the folder data.
RUN useradd --create-home --uid 1000 spine && mkdir /data && chown spine /data && ln -s /data data
# torch first: it is large, and changes less often than the code.
COPY constraints.txt ./
RUN pip install "$(grep '^torch==' constraints.txt)" --index-url "https://download.pytorch.org/whl/${TORCH}"
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    sed -i '/^torch==/d' constraints.txt \
    && pip install -c constraints.txt "$(echo /wheel/*.whl)[eval,s3,serve]"

USER 1000
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/readyz', timeout=4)"]
# The exec form passes SIGTERM to the service, which then finishes its open requests.
ENTRYPOINT ["synthspine"]
CMD ["serve", "--host", "0.0.0.0", "--shards-dir", "/data/sets", "--cache-dir", "/data/rendered"]
