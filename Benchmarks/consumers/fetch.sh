#!/usr/bin/env bash
# Gets the stacks' own code, in the versions that the judges name, from PyPI into DIR: the wheels
# are unzipped, not installed, and only the Python files that are run.
#
#     fetch.sh DIR          480 MB of downloads, kept in DIR/wheels
set -euo pipefail
directory=${1:?fetch.sh DIR}
mkdir -p "$directory/wheels"
cd "$directory"
for package in sglang==0.5.23 lmdeploy==0.18.0 vllm==0.33.0; do
  python3 -m pip download --quiet --no-deps --dest wheels "$package"
done
unzip -qo wheels/sglang-*.whl 'sglang/srt/eplb/*' sglang/srt/environ.py -d sglang
unzip -qo wheels/lmdeploy-*.whl lmdeploy/pytorch/nn/eplb.py -d lmdeploy
unzip -qo wheels/vllm-*.whl '*.py' '*.json' -d vllm
