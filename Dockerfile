# The service and the trainer in one image.
#
#   docker build -t synthspine .                                   # CPU
#   docker build -t synthspine --build-arg TORCH=cu126 .           # NVIDIA GPU
#   docker run -p 8080:8080 -v sets:/data -e SYNTHSPINE_TOKEN synthspine
#   docker run --gpus all -v sets:/data --entrypoint torchrun synthspine train/main.py --model A ...
FROM python:3.11-slim

ARG TORCH=cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
WORKDIR /app

# Without data, the phantom is written to the folder data.
RUN useradd --create-home --uid 1000 spine && mkdir /data && chown spine /data && ln -s /data data
# torch first: it is large, and changes less often than the code.
COPY constraints.txt pyproject.toml README.md LICENSE ./
RUN pip install "$(grep '^torch==' constraints.txt)" --index-url "https://download.pytorch.org/whl/${TORCH}"
COPY gen gen
COPY shards shards
COPY train train
COPY eval eval
# Links to the four folders above: the package that is imported.
COPY synthspine synthspine
RUN grep -v '^torch==' constraints.txt > /tmp/constraints.txt \
    && pip install -c /tmp/constraints.txt -e '.[serve,s3]'

USER spine
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/readyz', timeout=4)"]
# The exec form passes SIGTERM to the service, which then finishes its open requests.
ENTRYPOINT ["python", "shards/serve.py"]
CMD ["--host", "0.0.0.0", "--shards-dir", "/data/sets", "--cache-dir", "/data/rendered"]
