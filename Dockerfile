# casdm as a program in a container.
#
#   docker build -t casdm .
#   docker run --rm -it -v "$PWD/runs:/data/runs" casdm quickstart     # --gpus all: on NVIDIA GPUs
FROM debian:bookworm-slim AS tools
COPY CMakeLists.txt /casdm/
COPY tools /casdm/tools
RUN bash /casdm/tools/setup.sh --cpu --packages

FROM tools AS build
COPY . /casdm
WORKDIR /casdm
RUN cmake --preset release -DCASDM_BUILD_TESTS=OFF && cmake --build --preset release && \
    bash tools/wheel.sh --out /wheels

FROM debian:bookworm-slim
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends libstdc++6 python3 python3-venv zlib1g && \
    rm -rf /var/lib/apt/lists/*
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    python3 -m venv /opt/casdm && /opt/casdm/bin/pip install --no-cache-dir /wheels/*.whl
ENV PATH=/opt/casdm/bin:$PATH CASDM_CACHE=/data/cache
WORKDIR /data
ENTRYPOINT ["casdm"]
CMD ["--help"]
