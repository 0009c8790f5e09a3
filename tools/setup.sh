#!/bin/sh
# Create or update .venv for `make lab` and `make test`. Finishes at once if nothing has changed since the last time.
# usage: sh tools/setup.sh [PYTHON]
set -eu
python=${1:-python3}

fail() {
    echo "setup: $*" >&2
    exit 1
}

command -v "$python" >/dev/null 2>&1 || fail "there is no '$python'; install Python 3.11 or newer"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "Python 3.11 or newer is needed, '$python' is $("$python" -V 2>&1); name another one: make lab PYTHON=python3.12"

wanted="$(cat pyproject.toml constraints.txt | cksum) $("$python" -V 2>&1) $(pwd)"
if [ "$(cat .venv/ready 2>/dev/null)" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then
    echo "setup: .venv is up to date"
    exit 0
fi

case $(uname) in Linux) needed=8 ;; *) needed=3 ;; esac # GB; on Linux torch brings its CUDA libraries
free=$(df -Pk . | awk 'NR == 2 { print int($4 / 1048576) }')
[ "$free" -ge "$needed" ] || [ -d .venv ] || fail "$needed GB of free disk are needed here, there are $free GB"

if [ -f .venv/ready ] && .venv/bin/python -c '' 2>/dev/null && [ "$(cut -d' ' -f3- .venv/ready)" = "${wanted#* * }" ]; then
    echo "setup: updating .venv, because pyproject.toml or constraints.txt has changed"
else
    echo "setup: creating .venv with $("$python" -V 2>&1)"
    "$python" -m venv --clear .venv >/dev/null 2>&1 ||
        fail "'$python -m venv' failed; on Debian and Ubuntu install python3-venv (and check that this folder is writable)"
fi
rm -f .venv/ready

echo "setup: installing PyTorch, JupyterLab and the rest into .venv (several GB the first time; this takes minutes)"
pip=".venv/bin/python -m pip --disable-pip-version-check install"
explain() {
    grep -qiE 'no space left' .venv/errors && fail "the disk is full; free some space and run this again"
    fail "$1"
}
# setuptools on its own first: any Python has a version of it, so if this fails the network is missing
$pip --quiet 'setuptools>=77' 2>.venv/errors ||
    explain "the packages could not be downloaded; connect to the internet (only this first time) and run this again"
$pip --no-build-isolation --constraint constraints.txt --editable '.[test]' 2>.venv/errors ||
    explain "pip could not install the packages: $(grep -i error .venv/errors | head -n 1) (more in .venv/errors)"
# JupyterLab asks at its first start whether it may fetch news: it may not, the workbook works offline
mkdir -p .venv/share/jupyter/lab/settings
echo '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}' \
    >.venv/share/jupyter/lab/settings/overrides.json
echo "$wanted" >.venv/ready
echo "setup: .venv is ready"
