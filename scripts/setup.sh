#!/usr/bin/env bash
# Installs what this workspace needs, inside its folder; `make setup` runs it. A second run finds
# nothing to do.
#
#   scripts/setup.sh                 Python 3.7, .venv with the packages of requirements.txt,
#                                    models/research, import check
#   scripts/setup.sh --find-python   only prints the Python 3.7 that it would use
#   scripts/setup.sh --models        only installs object_detection and slim to models/research
#                                    (needs .venv)
#
# Reads from the environment:
#   CPU=intel|stock   Intel's build of TensorFlow, or the one from Google; the default is the choice
#                     of the last run, at first Intel's if the processor has AVX2
#   SPARK=1|0         also the packages of scripts/requirements-spark.txt, for step 12, or no longer;
#                     the default is the choice of the last run
#   PYTHON=/path      the Python 3.7 to use
#
# Writes .venv, models/research, .python3.7 (only if it has to download a Python) and .setup.log. It
# can be stopped at any time and started again. A clone of tensorflow/models at models/research is
# used and not changed, except that missing protos/*_pb2.py are compiled in it.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
research=$root/models/research
downloads=$root/.python3.7
log=$root/.setup.log
marker=.made-by-make-setup        # a .venv or models/research with this file may be replaced
scratch=                          # a temporary folder, removed at the end
trap '[ -z "$scratch" ] || rm -rf "$scratch"' EXIT
unset PYTHONPATH PYTHONHOME       # the import check must find the packages of .venv alone

say() { printf '%s\n' "$*"; }

die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# name: the pin of requirements.txt that is marked with #@name
pin() { sed -n "s/^#@$1  *//p" "$root/requirements.txt"; }

failed() {  # "what could not be done": prints the end of the log, and where the rest is
    tail -n 25 "$log" >&2
    die "$1. Above is the end of $log. Fix the cause that it names (often the network or a full" \
        "disk), then run \`make setup\` again: it resumes from here."
}

# --- Python 3.7 -----------------------------------------------------------------------------------

why_unusable() {  # path: nothing for a Python 3.7 that can create environments, else the reason
    local answer
    answer=$("$1" -c '
import platform, sys
found = "{} {}.{}".format(sys.implementation.name, *sys.version_info[:2])
if found != "cpython 3.7":
    sys.exit("it is " + found)
if platform.machine() not in ("x86_64", "AMD64"):
    sys.exit("it is for {}; TensorFlow 1.15 has only x86-64 builds".format(platform.machine()))
try:
    import ensurepip, venv
except ImportError as error:
    sys.exit("{}: install the package python3.7-venv".format(error))
' 2>&1) || say "${answer:-does not run}" | sed -n 1p
}

candidates() {  # every interpreter on this machine that may be a Python 3.7, one path per line
    local name folder conda
    for name in python3.7 python3 python; do type -aP "$name" || true; done
    for folder in "$(pyenv root)" "${PYENV_ROOT:-}" "${HOME:-}/.pyenv"; do
        [ -z "$folder" ] || ls -d "$folder"/versions/3.7.*/bin/python || true
    done
    conda=$(find_conda)
    for folder in "${CONDA_PREFIX:-}" "$([ -z "$conda" ] || "$conda" info --base)"; do
        [ -z "$folder" ] || ls -d "$folder/bin/python" "$folder"/envs/*/bin/python || true
    done
    [ ! -f "${HOME:-}/.conda/environments.txt" ] ||
        sed 's|$|/bin/python|' "$HOME/.conda/environments.txt"
    uv python find --python-preference only-managed 3.7 || true
    downloaded_candidates
} 2>/dev/null

downloaded_candidates() { ls -d "$downloads"/*/bin/python3.7 2>/dev/null || true; }

find_conda() { command -v conda || command -v mamba || say "${CONDA_EXE:-}"; }

first_working() {  # paths on stdin: prints the first usable one; logs the reason against the others
    local path reason
    while IFS= read -r path; do
        # An activated .venv is on the path, too, but cannot create itself.
        case $path in "$venv"/*) continue ;; esac
        reason=$(why_unusable "$path")
        if [ -z "$reason" ]; then say "$path"; return; fi
        say "  $path: $reason" >>"$log"
    done
    return 1
}

download_python() {  # where there is none: has conda or uv download one to $downloads
    local conda uv
    mkdir -p "$downloads"
    conda=$(find_conda)
    if [ -n "$conda" ]; then
        say "no Python 3.7 found: downloading one with conda to $downloads" >&2
        "$conda" create -y -q -p "$downloads/conda" python=3.7 >>"$log" 2>&1 ||
            say "  conda failed" >&2
        downloaded_candidates | first_working && return
    fi
    for uv in "$(command -v uv || true)" "$downloads/uv/bin/uv"; do
        if [ "$uv" = "$downloads/uv/bin/uv" ] && [ ! -x "$uv" ]; then
            # The pinned uv, because newer ones no longer offer Python 3.7.
            python3 -m pip install -q --upgrade --target "$downloads/uv" "$(pin uv)" \
                >>"$log" 2>&1 || true
        fi
        [ -x "$uv" ] || continue
        say "no Python 3.7 found: downloading one with uv to $downloads" >&2
        UV_PYTHON_INSTALL_DIR=$downloads "$uv" python install 3.7 >>"$log" 2>&1 ||
            say "  uv failed" >&2
        downloaded_candidates | first_working && return
    done
    return 1
}

find_python() {
    local reason rejected
    if [ -n "${PYTHON:-}" ]; then
        reason=$(why_unusable "$PYTHON")
        [ -z "$reason" ] ||
            die "PYTHON=$PYTHON is not a working Python 3.7 ($reason). Name another, or leave" \
                "PYTHON out."
        say "$PYTHON"
        return
    fi
    : >"$log"
    first_working < <(candidates) && return
    rejected=$(sort -u "$log")
    download_python || die "no working Python 3.7 was found and none could be downloaded.
TensorFlow 1.15 has no build for a newer one. Tried:
$rejected
Install it in one of these ways, then run \`make setup\` again:
  pyenv     pyenv install 3.7
  conda     conda create -y -n python37 python=3.7
  uv        pip install $(pin uv) && uv python install 3.7   (newer uv no longer offers it)
  Ubuntu    add-apt-repository ppa:deadsnakes/ppa && apt install python3.7 python3.7-venv
  another   make setup PYTHON=/path/to/python3.7
The reason for the failed download is in $log."
}

# --- .venv ----------------------------------------------------------------------------------------

# Intel's build runs on processors of other makers, too, and without AVX2; it is faster with AVX2.
fastest_build() { if grep -qsw avx2 /proc/cpuinfo; then say intel; else say stock; fi; }

# intel|stock 1|0: prints the pins to install, with intel-tensorflow instead of tensorflow, and with
# those of Spark
required() {
    local intel
    intel=$(pin intel)
    case $1 in
        intel) sed "s/^tensorflow==.*/$intel/" "$root/requirements.txt" ;;
        stock) cat "$root/requirements.txt" ;;
        *) die "CPU=$1: expected intel or stock" ;;
    esac
    case $2 in
        1) cat "$root/scripts/requirements-spark.txt" ;;
        0) ;;
        *) die "SPARK=$2: expected 1 or 0" ;;
    esac
}

follow() {  # command: logs its output; on a terminal, one line shows the package that pip is at
    local line count=0 total
    total=$(grep -c '^[A-Za-z]' "$venv/requirements.txt")
    "$@" 2>&1 | while IFS= read -r line; do
        printf '%s\n' "$line" >>"$log"
        [ -t 1 ] || continue
        case $line in
            Collecting*)
                count=$((count + 1))
                printf '\r\033[K      %s of %s: %s' "$count" "$total" "${line#Collecting }"
                ;;
            Installing\ collected*) printf '\r\033[K      unpacking' ;;
            Successfully\ installed*) printf '\r\033[K' ;;
        esac
    done
}

make_venv() {  # python, cpu, spark
    if [ -e "$venv" ] && [ ! -e "$venv/$marker" ]; then
        die "$venv exists, but \`make setup\` did not make it. Move it away, then run" \
            "\`make setup\` again."
    fi
    # An interrupted installation may have left half a package: start again. pip's cache saves time.
    if [ ! -e "$venv/packages-are-in" ]; then
        rm -rf "$venv"
        mkdir "$venv"
        touch "$venv/$marker"
        "$1" -m venv "$venv" >>"$log" 2>&1 || failed "the environment .venv could not be created"
    fi
    local pip=("$venv/bin/python" -m pip --disable-pip-version-check)
    required "$2" "$3" >"$venv/requirements.txt"
    if [ "$(cat "$venv/packages-are-in" 2>/dev/null)" = "$(cksum <"$venv/requirements.txt")" ]; then
        return
    fi
    say "      to .venv, about 1 GB on disk; the first installation takes a few minutes"
    if [ -e "$venv/packages-are-in" ]; then
        rm "$venv/packages-are-in"
        # The two builds of TensorFlow share their folders: remove one before installing the other.
        if [ "$(cat "$venv/cpu" 2>/dev/null)" != "$2" ]; then
            "${pip[@]}" uninstall -y -q tensorflow intel-tensorflow >>"$log" 2>&1 || true
        fi
        if [ "$3" = 0 ]; then
            "${pip[@]}" uninstall -y -q pyspark py4j pyarrow >>"$log" 2>&1 || true
        fi
    fi
    # shellcheck disable=SC2046
    "${pip[@]}" install -q $(pin pip) >>"$log" 2>&1 || failed "pip itself could not be updated"
    follow "${pip[@]}" install --no-deps --progress-bar off -r "$venv/requirements.txt" ||
        failed "the packages could not be installed"
    "${pip[@]}" check >>"$log" 2>&1 || failed "the packages are not compatible with each other"
    # Makes these two folders importable from any working directory. The paths are relative to the
    # folder of this file, so that the workspace can be moved.
    printf '%s\n' ../../../../models/research ../../../../models/research/slim \
        >"$venv/lib/python3.7/site-packages/tensorflow_models.pth"
    cksum <"$venv/requirements.txt" >"$venv/packages-are-in"
}

# --- models/research ------------------------------------------------------------------------------

install_models() {
    local source
    source=$(pin models)
    if [ -e "$research/$marker" ] && [ "$(cat "$research/$marker")" = "$source" ]; then
        say "      models/research: ${source%% *}"
    elif [ -e "$research/object_detection" ] && [ ! -e "$research/$marker" ]; then
        say "      models/research: your own clone of tensorflow/models, not changed"
        compile_protos
    elif [ -e "$research" ] && [ ! -e "$research/$marker" ]; then
        die "$research exists but contains no object_detection. Expected the research folder of a" \
            "clone of tensorflow/models, or nothing: remove it, then run \`make setup\` again."
    else
        say "      models/research: downloading ${source%% *}"
        unpack_models "$source"
    fi
}

unpack_models() {  # pin: downloads the wheel; its folders go where tensorflow/models has them
    local partial=$root/models/.research.partial
    scratch=${scratch:-$(mktemp -d)}
    say "$1" >"$scratch/requirement"
    "$venv/bin/python" -m pip --disable-pip-version-check download --no-deps --require-hashes \
        --dest "$scratch/wheel" -r "$scratch/requirement" >>"$log" 2>&1 ||
        failed "${1%% *} could not be downloaded, or its sha256 differs from requirements.txt"
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

# Prints whether models/research is from this script, and the target if it is a link: part of the
# stamp of a finished set-up, so that another clone is checked again.
models_origin() {
    if [ -e "$research/$marker" ]; then say downloaded; else say clone; fi
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
    "$venv/bin/python" -m pip --disable-pip-version-check install --no-deps \
        --target "$scratch/protoc" "$(pin protoc)" >>"$log" 2>&1 ||
        failed "$(pin protoc) could not be downloaded"
    (cd "$research" && PYTHONPATH=$scratch/protoc "$venv/bin/python" -m grpc_tools.protoc \
        --proto_path=. --python_out=. object_detection/protos/*.proto) >>"$log" 2>&1 ||
        failed "the .proto files of your clone could not be compiled"
}

check_imports() {  # from another folder, because scripts can be started from any
    local name status=0
    for name in slim/nets object_detection/{model_main,export_inference_graph}.py; do
        [ -e "$research/$name" ] ||
            die "$research/$name is missing: models/research is not a complete clone of" \
                "tensorflow/models. Clone it again, or remove it, then run \`make setup\` again."
    done
    (cd / && "$venv/bin/python" -W ignore -c '
import tensorflow
from object_detection import model_hparams, model_lib, exporter
from object_detection.protos import pipeline_pb2
from nets import inception_v2
import pycocotools.coco
') >>"$log" 2>&1 || status=$?
    [ "$status" = 0 ] ||
        failed "the import check failed (status $status; 132: TensorFlow needs a CPU with AVX)"
}

# --- all steps ------------------------------------------------------------------------------------

wait_for_others() {  # two set-ups at a time in one folder would spoil each other's .venv
    command -v flock >/dev/null || return 0
    exec 9>>"$log"    # the lock ends with this program, however it ends
    flock -n 9 && return
    say "waiting for another \`make setup\` in this folder"
    flock 9
}

is_done() {  # stamp
    [ "$(cat "$venv/set-up-is-done" 2>/dev/null)" = "$1 $(models_origin)" ] &&
        [ -x "$venv/bin/python" ] && [ -e "$research/object_detection/model_main.py" ]
}

set_up() {
    local cpu spark stamp python
    cpu=${CPU:-$(cat "$venv/cpu" 2>/dev/null || fastest_build)}
    spark=${SPARK:-$(cat "$venv/spark" 2>/dev/null || echo 0)}
    stamp="$cpu $spark $(cat "$root"/requirements*.txt "${BASH_SOURCE[0]}" | cksum)"
    if is_done "$stamp"; then return; fi
    [ -w "$root" ] ||
        die "$root cannot be written by $(id -un); expected its owner. Run \`make setup\` as" \
            "$(stat -c %U "$root"), or clone the repository."
    required "$cpu" "$spark" >/dev/null    # refuses a wrong value before anything is installed
    wait_for_others
    if is_done "$stamp"; then return; fi
    say "[1/4] Python 3.7"
    python=$(find_python)
    say "      $python"
    : >"$log"
    rm -f "$venv/set-up-is-done"
    say "[2/4] the packages of requirements.txt ($cpu TensorFlow)"
    make_venv "$python" "$cpu" "$spark"
    say "[3/4] object_detection and slim"
    install_models
    say "[4/4] import check"
    check_imports
    say "$cpu" >"$venv/cpu"
    say "$spark" >"$venv/spark"
    say "$stamp $(models_origin)" >"$venv/set-up-is-done"
    say "Installed. Next: \`make demo\` runs the full pipeline on synthetic shelves; \`make\` lists the" \
        "other targets."
}

case ${1:-} in
    "") set_up ;;
    --find-python) find_python ;;
    --models) install_models ;;
    *) die "unknown option $1; see the head of $0" ;;
esac
