#!/usr/bin/env bash
# Installs the packages of requirements-deploy.txt to .deploy-packages; `make setup-deploy` runs it.
# A second run finds nothing to do.
#
#   scripts/setup_deploy.sh PYTHON   the Python 3.7 of the other packages, such as .venv/bin/python
#
# Writes .deploy-packages and .setup-deploy.log. The packages are installed beside and then moved
# into place, so that it can be stopped at any time and started again.
set -euo pipefail

python=${1:?the Python 3.7 of the other packages; run \`make setup-deploy\`}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
requirements=$root/scripts/requirements-deploy.txt
target=$root/.deploy-packages
partial=$root/.deploy-packages.partial
log=$root/.setup-deploy.log
stamp=$(cksum <"$requirements")

is_done() { [ "$(cat "$target/requirements-are-in" 2>/dev/null)" = "$stamp" ]; }

if is_done; then exit; fi
: >>"$log"
if command -v flock >/dev/null; then  # two at a time would write to one folder
    exec 9>>"$log"
    flock 9
    if is_done; then exit; fi
fi
echo "installing the packages for deployment to .deploy-packages, about 320 MB on disk"
rm -rf "$partial"
"$python" -m pip --disable-pip-version-check install --no-deps --progress-bar off \
    --target "$partial" -r "$requirements" >"$log" 2>&1 || {
    tail -n 25 "$log" >&2
    echo "error: the packages for deployment could not be installed. Above is the end of $log. Fix" \
        "the cause that it names (often the network or a full disk), then run \`make setup-deploy\`" \
        "again." >&2
    exit 1
}
echo "$stamp" >"$partial/requirements-are-in"
rm -rf "$target"
mv "$partial" "$target"
