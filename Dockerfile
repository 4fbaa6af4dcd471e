# syntax=docker/dockerfile:1
# One image, all four binaries: pick one with --entrypoint, as docker-compose.yml
# does. The default is the command line.
FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm AS build
ARG TARGETOS TARGETARCH VERSION
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags="-s -w ${VERSION:+-X github.com/parleybus/parley/internal/daemon.Version=$VERSION}" -o /out/ ./cmd/... && \
    mkdir -p /empty /keys/admin /keys/orchestrator /keys/llm-worker /keys/tool-worker /keys/app /keys/sys

# The base image has CA certificates, time zones and a user, nothing else.
FROM gcr.io/distroless/static-debian12:nonroot
LABEL org.opencontainers.image.title="Parley" \
      org.opencontainers.image.description="LLM conversations on a message bus" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/parley /out/orchestrator /out/llm-worker /out/tool-worker /usr/local/bin/
# Where volumes are mounted: a new volume takes the owner of the directory. /data is
# for parley's embedded server; docker-compose.yml uses the others for keys.
COPY --from=build --chown=nonroot:nonroot /empty /data
COPY --from=build --chown=nonroot:nonroot /empty /config
COPY --from=build --chown=nonroot:nonroot /empty /key
COPY --from=build --chown=nonroot:nonroot /keys /keys
ENV PARLEY_DATA=/data
USER nonroot:nonroot
ENTRYPOINT ["/usr/local/bin/parley"]
