# Two stages: dependencies by hash and bytecode in the first, nothing but the result in the second.
#   docker build -t sidecache .
#   docker build -t sidecache:embedded --build-arg EXTRAS=embedded .    with the embedded Valkey in it

ARG BASE=python:3.13-slim-trixie

FROM ${BASE} AS build
# Empty, or `embedded`.
ARG EXTRAS=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1
WORKDIR /src
COPY requirements/ requirements/
RUN python -m venv /opt/sidecache \
 && case "${EXTRAS}" in \
      "") lock=image ;; \
      embedded) lock=run ;; \
      *) echo "EXTRAS: expected nothing or embedded, found ${EXTRAS}" >&2; exit 1 ;; \
    esac \
 && /opt/sidecache/bin/pip install --require-hashes -r "requirements/${lock}.lock"
# What builds our wheel, by hash too, stays in this stage.
RUN python -m venv /opt/builder \
 && /opt/builder/bin/pip install --require-hashes -r requirements/build.lock
COPY pyproject.toml README.md LICENSE ./
COPY proxy/ proxy/
RUN /opt/builder/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/sidecache/bin/pip install --no-deps --no-index /wheels/*.whl \
 && /opt/sidecache/bin/pip uninstall --yes pip \
 && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/sidecache/lib

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=""
LABEL org.opencontainers.image.title="sidecache" \
      org.opencontainers.image.description="A caching sidecar for unchanged HTTP APIs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/sidecache /opt/sidecache
ENV PATH=/opt/sidecache/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# A number, so that runAsNonRoot can be checked; nothing is written but below /tmp.
USER 65532:65532
EXPOSE 8080 9901 9902
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["sidecache", "health"]
ENTRYPOINT ["sidecache"]
CMD ["serve", "-c", "/etc/sidecache/config.yaml"]
