#!/usr/bin/env bash
# Sets this workspace up, in the folder it lies in; `make setup` runs it. A second run finds nothing to do.
#
#   scripts/setup.sh                 Python 3.7 -> .venv -> the pins of requirements.txt -> models/research -> import check
#   scripts/setup.sh --find-python   only prints the Python 3.7 it would take
#   scripts/setup.sh --models        only puts object_detection and slim into models/research (needs .venv)
#
# Reads from the environment:
#   CPU=intel|stock   intel-tensorflow in TensorFlow's place, or the usual one; without it the choice made before stays
#   PYTHON=/path      the Python 3.7 to use
#
# Writes .venv, models/research, .python3.7 (only if it had to fetch a Python) and .setup.log. It may be stopped at any
# time and started again. A clone of tensorflow/models at models/research is used as it is and left as it is; only
# protos/*_pb2.py are made in it if they are missing.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
research=$root/models/research
fetched=$root/.python3.7
log=$root/.setup.log
marker=.made-by-make-setup        # in .venv and in models/research: ours, so it may be replaced
scratch=                          # a temporary folder that goes at the end
trap '[ -z "$scratch" ] || rm -rf "$scratch"' EXIT
unset PYTHONPATH PYTHONHOME       # other people's packages would take part in the import check

say() { printf '%s\n' "$*"; }

die() { printf 'error: %s\n' "$*" >&2; exit 1; }

pin() { sed -n "s/^#@$1  *//p" "$root/requirements.txt"; }    # the line of requirements.txt that is meant for set-up

failed() {  # "what could not be done": the end of the log, and where the rest is
    tail -n 25 "$log" >&2
    die "$1. Above is the end of $log. Mend what it names (often the network or a full disk), then run \`make setup\`" \
        "again: it goes on from here."
}

# --- Python 3.7 ------------------------------------------------------------------------------------------------------

why_not() {  # path: nothing if this is a Python 3.7 that runs and can make an environment, else what is wrong with it
    local answer
    answer=$("$1" -c '
import platform, sys
found = "{} {}.{}".format(sys.implementation.name, *sys.version_info[:2])
if found != "cpython 3.7":
    sys.exit("it is " + found)
if platform.machine() not in ("x86_64", "AMD64"):
    sys.exit("it is built for {}; TensorFlow 1.15 has only x86-64 builds".format(platform.machine()))
try:
    import ensurepip, venv
except ImportError as error:
    sys.exit("{}: install the package python3.7-venv".format(error))
' 2>&1) || say "${answer:-does not run}" | sed -n 1p
}

candidates() {  # every interpreter on this machine that might be it, one path a line, those named first come first
    local name folder conda
    for name in python3.7 python3 python; do type -aP "$name" || true; done
    for folder in "$(pyenv root)" "${PYENV_ROOT:-}" "${HOME:-}/.pyenv"; do
        [ -z "$folder" ] || ls -d "$folder"/versions/3.7.*/bin/python || true
    done
    conda=$(find_conda)
    for folder in "${CONDA_PREFIX:-}" "$([ -z "$conda" ] || "$conda" info --base)"; do
        [ -z "$folder" ] || ls -d "$folder/bin/python" "$folder"/envs/*/bin/python || true
    done
    [ ! -f "${HOME:-}/.conda/environments.txt" ] || sed 's|$|/bin/python|' "$HOME/.conda/environments.txt"
    uv python find --python-preference only-managed 3.7 || true
    fetched_candidates
} 2>/dev/null

fetched_candidates() { ls -d "$fetched"/*/bin/python3.7 2>/dev/null || true; }

find_conda() { command -v conda || command -v mamba || say "${CONDA_EXE:-}"; }

first_working() {  # paths on stdin: prints the first that works; else the log says of each what is wrong with it
    local path reason
    while IFS= read -r path; do
        case $path in "$venv"/*) continue ;; esac             # ours, when it is activated: it cannot make itself
        reason=$(why_not "$path")
        if [ -z "$reason" ]; then say "$path"; return; fi
        say "  $path: $reason" >>"$log"
    done
    return 1
}

fetch_python() {  # the last ways: have conda or uv bring one into $fetched
    local conda uv
    mkdir -p "$fetched"
    conda=$(find_conda)
    if [ -n "$conda" ]; then
        say "no Python 3.7 here: conda fetches one into $fetched" >&2
        "$conda" create -y -q -p "$fetched/conda" python=3.7 >>"$log" 2>&1 || say "  it could not" >&2
        fetched_candidates | first_working && return
    fi
    for uv in "$(command -v uv || true)" "$fetched/uv/bin/uv"; do
        if [ "$uv" = "$fetched/uv/bin/uv" ] && [ ! -x "$uv" ]; then   # a pinned one: newer ones no longer offer 3.7
            python3 -m pip install -q --upgrade --target "$fetched/uv" "$(pin uv)" >>"$log" 2>&1 || true
        fi
        [ -x "$uv" ] || continue
        say "no Python 3.7 here: uv fetches one into $fetched" >&2
        UV_PYTHON_INSTALL_DIR=$fetched "$uv" python install 3.7 >>"$log" 2>&1 || say "  it could not" >&2
        fetched_candidates | first_working && return
    done
    return 1
}

find_python() {
    local reason looked_at
    if [ -n "${PYTHON:-}" ]; then
        reason=$(why_not "$PYTHON")
        [ -z "$reason" ] || die "PYTHON=$PYTHON is not a working Python 3.7 ($reason). Name another, or leave PYTHON out."
        say "$PYTHON"
        return
    fi
    : >"$log"
    first_working < <(candidates) && return
    looked_at=$(sort -u "$log")
    fetch_python || die "no working Python 3.7 was found and none could be fetched.
TensorFlow 1.15 has no build for a newer one. Looked at:
$looked_at
Any one of these brings it; then run \`make setup\` again:
  pyenv     pyenv install 3.7
  conda     conda create -y -n python37 python=3.7
  uv        pip install $(pin uv) && uv python install 3.7      (newer versions of uv no longer offer 3.7)
  Ubuntu    add-apt-repository ppa:deadsnakes/ppa && apt install python3.7 python3.7-venv
  another   make setup PYTHON=/path/to/python3.7
$log says why fetching it failed."
}

# --- .venv -----------------------------------------------------------------------------------------------------------

wanted() {  # the lines to install: every pin, with Intel's build in tensorflow's place if that was chosen
    local intel
    intel=$(pin intel)
    case $1 in
        intel) sed "s/^tensorflow==.*/$intel/" "$root/requirements.txt" ;;
        stock) cat "$root/requirements.txt" ;;
        *) die "CPU=$1: expected intel or stock" ;;
    esac
}

follow() {  # a command's output goes to the log; on a terminal one line shows which package pip is at
    local line count=0 total
    total=$(grep -c '^[A-Za-z]' "$root/requirements.txt")
    "$@" 2>&1 | while IFS= read -r line; do
        printf '%s\n' "$line" >>"$log"
        [ -t 1 ] || continue
        case $line in
            Collecting*) count=$((count + 1)); printf '\r\033[K      %s of %s: %s' "$count" "$total" "${line#Collecting }" ;;
            Installing\ collected*) printf '\r\033[K      unpacking them' ;;
            Successfully\ installed*) printf '\r\033[K' ;;
        esac
    done
}

make_venv() {  # python, cpu
    if [ -e "$venv" ] && [ ! -e "$venv/$marker" ]; then
        die "$venv is there, but \`make setup\` did not make it. Move it out of the way, then run \`make setup\` again."
    fi
    if [ ! -e "$venv/packages-are-in" ]; then   # one that was broken off may hold half a package: begin anew, pip's cache helps
        rm -rf "$venv"
        mkdir "$venv"
        touch "$venv/$marker"
        "$1" -m venv "$venv" >>"$log" 2>&1 || failed "the environment .venv could not be made"
    fi
    local pip=("$venv/bin/python" -m pip --disable-pip-version-check)
    wanted "$2" >"$venv/requirements.txt"
    if [ "$(cat "$venv/packages-are-in" 2>/dev/null)" = "$(cksum <"$venv/requirements.txt")" ]; then return; fi
    say "      into .venv, about 1 GB on disk; the first time takes a few minutes"
    if [ -e "$venv/packages-are-in" ]; then
        rm "$venv/packages-are-in"
        # The two builds of TensorFlow share their folders: whichever is there goes before the other comes.
        "${pip[@]}" uninstall -y -q tensorflow intel-tensorflow >>"$log" 2>&1 || true
    fi
    # shellcheck disable=SC2046
    "${pip[@]}" install -q $(pin pip) >>"$log" 2>&1 || failed "pip itself could not be brought up to date"
    follow "${pip[@]}" install --no-deps --progress-bar off -r "$venv/requirements.txt" ||
        failed "the packages could not be installed"
    "${pip[@]}" check >>"$log" 2>&1 || failed "the packages do not go together"
    # From here on these two folders are importable wherever a script is started from. Paths from this file's own folder,
    # so that the workspace may be moved.
    printf '%s\n' ../../../../models/research ../../../../models/research/slim \
        >"$venv/lib/python3.7/site-packages/tensorflow_models.pth"
    cksum <"$venv/requirements.txt" >"$venv/packages-are-in"
}

# --- models/research -------------------------------------------------------------------------------------------------

put_models() {
    local source
    source=$(pin models)
    if [ -e "$research/$marker" ] && [ "$(cat "$research/$marker")" = "$source" ]; then
        say "      models/research: ${source%% *}"
    elif [ -e "$research/object_detection" ] && [ ! -e "$research/$marker" ]; then
        say "      models/research: your own clone of tensorflow/models, left as it is"
        compile_protos
    elif [ -e "$research" ] && [ ! -e "$research/$marker" ]; then
        die "$research is there but holds no object_detection. Expected the research folder of a clone of" \
            "tensorflow/models, or nothing: remove it, then run \`make setup\` again."
    else
        say "      models/research: fetching ${source%% *}"
        unpack_models "$source"
    fi
}

unpack_models() {  # the line of requirements.txt: the wheel's folders in the places they have in tensorflow/models
    local partial=$root/models/.research.partial
    scratch=${scratch:-$(mktemp -d)}
    say "$1" >"$scratch/requirement"
    "$venv/bin/python" -m pip --disable-pip-version-check download --no-deps --require-hashes --dest "$scratch/wheel" \
        -r "$scratch/requirement" >>"$log" 2>&1 || failed "${1%% *} could not be fetched, or its sha256 is not the one stated"
    rm -rf "$partial"
    mkdir -p "$partial/slim"
    "$venv/bin/python" -m zipfile -e "$scratch"/wheel/*.whl "$partial/slim" >>"$log" 2>&1 ||
        failed "${1%% *} could not be unpacked"
    mv "$partial/slim/object_detection" "$partial/object_detection"
    mv "$partial"/slim/*.dist-info/LICENSE "$partial/LICENSE"
    rm -r "$partial"/slim/*.dist-info
    say "$1" >"$partial/$marker"
    rm -rf "$research"
    mv "$partial" "$research"
}

whose_models() {  # whether models/research is ours, and where it leads if it is a link: another one is checked anew
    if [ -e "$research/$marker" ]; then say ours; else say yours; fi
    if [ -L "$research" ]; then (cd -P "$research" && pwd) 2>/dev/null || true; fi
}

compile_protos() {  # a clone comes without the Python modules of its .proto files
    local proto missing=
    for proto in "$research"/object_detection/protos/*.proto; do
        if [ -e "$proto" ] && [ ! -e "${proto%.proto}_pb2.py" ]; then missing=1; fi
    done
    [ -n "$missing" ] || return 0
    say "      models/research: compiling object_detection/protos/*.proto"
    scratch=${scratch:-$(mktemp -d)}
    "$venv/bin/python" -m pip --disable-pip-version-check install --no-deps --target "$scratch/protoc" "$(pin protoc)" \
        >>"$log" 2>&1 || failed "$(pin protoc) could not be fetched"
    (cd "$research" && PYTHONPATH=$scratch/protoc "$venv/bin/python" -m grpc_tools.protoc --proto_path=. --python_out=. \
        object_detection/protos/*.proto) >>"$log" 2>&1 || failed "the .proto files of your clone could not be compiled"
}

check_imports() {  # from another folder, as the scripts may be started
    local name status=0
    for name in slim/nets object_detection/model_main.py object_detection/export_inference_graph.py; do
        [ -e "$research/$name" ] || die "$research/$name is missing: models/research is not a whole clone of tensorflow/models"
    done
    (cd / && "$venv/bin/python" -W ignore -c '
import tensorflow
from object_detection import model_hparams, model_lib, exporter
from object_detection.protos import pipeline_pb2
from nets import inception_v2
import pycocotools.coco
') >>"$log" 2>&1 || status=$?
    [ "$status" = 0 ] || failed "the import check failed (status $status; 132 means that this CPU lacks AVX, which TensorFlow needs)"
}

# --- the whole -------------------------------------------------------------------------------------------------------

set_up() {
    local cpu stamp python
    cpu=${CPU:-$(cat "$venv/cpu" 2>/dev/null || echo stock)}
    stamp="$cpu $(cat "$root/requirements.txt" "${BASH_SOURCE[0]}" | cksum)"
    if [ "$(cat "$venv/set-up-is-done" 2>/dev/null)" = "$stamp $(whose_models)" ] && [ -x "$venv/bin/python" ] &&
        [ -e "$research/object_detection/model_main.py" ]; then
        return
    fi
    [ -w "$root" ] || die "$root cannot be written by $(id -un); expected its owner. Set it up as $(stat -c %U "$root"), or clone it."
    wanted "$cpu" >/dev/null
    say "[1/4] Python 3.7"
    python=$(find_python)
    say "      $python"
    : >"$log"
    rm -f "$venv/set-up-is-done"
    say "[2/4] the packages of requirements.txt ($cpu TensorFlow)"
    make_venv "$python" "$cpu"
    say "[3/4] object_detection and slim"
    put_models
    say "[4/4] import check"
    check_imports
    say "$cpu" >"$venv/cpu"
    say "$stamp $(whose_models)" >"$venv/set-up-is-done"
    say "Set up. Next: \`make demo\` walks the whole road on drawn shelves; bare \`make\` lists the rest."
}

case ${1:-} in
    "") set_up ;;
    --find-python) find_python ;;
    --models) put_models ;;
    *) die "unknown option $1; see the head of $0" ;;
esac
