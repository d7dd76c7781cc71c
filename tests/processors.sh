#!/usr/bin/env bash
# The tests as other processors run them: OpenBLAS's kernels, NumPy's vector units and the number of threads, one line a setting.
#
#     tests/processors.sh                        the whole suite under every setting
#     tests/processors.sh tests/test_contract.py -n 2      what pytest is given, under every setting
#     SETTINGS="Haswell no-AVX512" tests/processors.sh     some of them
#
# Every kernel in generated/ has to come out the same under each. Exit code 1 where anything failed; the output is kept in $LOGS.
set -uo pipefail
cd "$(dirname "$0")/.."

logs=${LOGS:-$(mktemp -d)}
mkdir -p "$logs"
avx512="AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR X86_V4"
avx2="AVX2 FMA3 X86_V3"
chosen=${SETTINGS:-Prescott Sandybridge Haswell SkylakeX no-AVX512 no-AVX2 1-thread 2-threads 4-threads}

# the names of features that this NumPy can do without, of those given: it warns of others
known() {
    python - "$@" <<'PYTHON'
import sys

from numpy._core._multiarray_umath import __cpu_dispatch__

print(*[name for name in sys.argv[1:] if name in __cpu_dispatch__])
PYTHON
}

failed=0
for setting in $chosen; do
    variables=()
    if [ "$setting" = SkylakeX ] && ! grep -qw avx512f /proc/cpuinfo; then
        echo "$setting: not on this processor, which has no AVX-512"
        continue
    fi
    case $setting in
        Prescott | Sandybridge | Haswell | SkylakeX) variables=("OPENBLAS_CORETYPE=$setting") ;;
        no-AVX512) variables=("NPY_DISABLE_CPU_FEATURES=$(known $avx512)") ;;
        no-AVX2) variables=("NPY_DISABLE_CPU_FEATURES=$(known $avx512 $avx2)") ;;
        [0-9]*-thread*) variables=("OPENBLAS_NUM_THREADS=${setting%%-*}" "OMP_NUM_THREADS=${setting%%-*}") ;;
        *) echo "$setting: not a setting: expected some of Prescott Sandybridge Haswell SkylakeX no-AVX512 no-AVX2 N-threads."; exit 2 ;;
    esac
    check="kernels the same"
    env "${variables[@]}" python -m derive --check > "$logs/$setting.check" 2>&1 || { check="kernels differ"; failed=1; }
    env "${variables[@]}" python -m pytest "$@" > "$logs/$setting.txt" 2>&1 || failed=1
    echo "$setting: $(tail -n 1 "$logs/$setting.txt"); $check"
done
echo "output: $logs"
exit $failed
