# syntax=docker/dockerfile:1
# gpt2eval in an image. Its default command scores the demo model without network:
#   docker build --tag gpt2eval .
#   docker run --rm gpt2eval
#   docker run --rm --volume "$PWD:/work" --user "$(id -u):$(id -g)" gpt2eval run --model DIR --out results
# Build arguments: EXTRAS="[gguf,peft]" adds extras of pyproject.toml. TORCH_OPTIONS are options of
# pip for torch, as PyTorch's installation page gives them: an index of builds for the CPU alone
# makes the image several gigabytes smaller.
FROM python:3.11.14-slim-bookworm AS build
ARG EXTRAS=""
ARG TORCH_OPTIONS=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/gpt2eval
WORKDIR /src
COPY constraints.txt ./
# torch has a layer of its own, so that a change of the sources does not install it again.
# hadolint ignore=SC2086
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/gpt2eval/bin/pip install --constraint constraints.txt $TORCH_OPTIONS torch
COPY pyproject.toml README.md LICENSE ./
COPY detokenizers detokenizers
COPY tasks tasks
COPY gpt2eval gpt2eval
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/gpt2eval/bin/pip install --constraint constraints.txt ".$EXTRAS"

FROM python:3.11.14-slim-bookworm
LABEL org.opencontainers.image.title="gpt2eval" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/gpt2eval /opt/gpt2eval
# --user may name someone without a home, so caches lie where anyone may write.
RUN useradd --create-home --uid 1000 gpt2eval \
    && install --directory --mode 1777 /work /cache
ENV PATH=/opt/gpt2eval/bin:$PATH \
    HF_HOME=/cache/huggingface \
    XDG_CACHE_HOME=/cache \
    MPLCONFIGDIR=/cache/matplotlib
USER 1000:1000
WORKDIR /work
ENTRYPOINT ["gpt2eval"]
CMD ["run", "--out", "/tmp/demo"]
