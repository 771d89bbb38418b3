#!/bin/sh
# The build stage of each image runs this: it makes /venv with the pinned dependencies of some
# extras of pyproject.toml, and without what only tests and compiling need.
#
#   sh install.sh EXTRA,EXTRA… [REQUIREMENT]…
set -eu
extras=$1
shift

# As a variable it holds for what pip needs to build, too.
export PIP_CONSTRAINT="$PWD/constraints.txt" PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
  PIP_ROOT_USER_ACTION=ignore
pip() { python3 -m pip --python /venv/bin/python "$@"; }

# The project is installed without its code, which comes into the image as a layer of its own. Its
# metadata names these files; empty here, so that a new sentence in them installs nothing anew.
touch README.md LICENSE
python3 -m venv --without-pip /venv
pip install ".[$extras]" "$@"
# A plugin that SQLAlchemy brings for it uses it, nothing else here does.
pip uninstall --yes mypy

cd /venv/lib/python3.11/site-packages
find . -type d -name tests -prune -exec rm -r {} +
if [ -d torch ]; then
  find torch/bin -type f ! -name torch_shm_manager -delete
  rm -r torch/include torch/test
fi
