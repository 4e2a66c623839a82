#!/usr/bin/env bash
# Snakemake runs this in the new environment. The metadata of these two ask for numpy < 2 and gym, although they run on numpy 2
# without gym, so pip must not resolve them; their real needs (cffi, imageio) are in the YAML file.
set -euo pipefail
pip install --no-deps procgen-mirror==0.10.7 gym3==0.3.3
