# Remuda's driver for Bash: the functions around the loop of driver_loop.sh, which
# is the shell's -c string, so that line numbers and $0 of a script are its own.
# For each run it reads a newline from descriptor 3 and the run's fields,
# NUL-separated, from descriptor 4; it answers with lines on 3. ../PROTOCOL.md has
# the wire.
#
# Both descriptors are closed while a script runs; bash keeps copies that no
# program inherits. `exit`, `set -e` and SIGINT end the shell itself: the EXIT trap
# then saves what a script can have changed and starts the shell anew in the same
# process, which reports.

# __remuda_next waits for a run and takes its fields apart.
__remuda_next() {
  local __remuda_n __remuda_k __remuda_line # no name that a parameter may have
  IFS= builtin read -r -u 3 __remuda_line || { builtin trap - EXIT; builtin exit 0; }
  builtin mapfile -d '' -t -u 4 __remuda_fields
  set -- "${__remuda_fields[@]}"
  __remuda_flags=$1 BASH_ARGV0=${2:-<script>} __remuda_script=$3 __remuda_error=
  if [[ $1 == *c* ]]; then
    __remuda_file=$3
    [[ $3 == /* ]] || __remuda_file=/workspace/$3
    __remuda_script='builtin . "$__remuda_file" "$@"'
  fi
  __remuda_n=$4
  shift 4
  __remuda_args=("${@:1:__remuda_n}")
  shift "$__remuda_n"
  __remuda_n=$1
  shift
  __remuda_undo=()
  for ((; __remuda_n > 0; __remuda_n--)); do
    __remuda_k=$1
    if [[ ! -v $__remuda_k ]]; then
      __remuda_undo+=("unset -v $__remuda_k")
    elif [[ ${!__remuda_k@a} == *x* ]]; then
      __remuda_undo+=("$__remuda_k=${!__remuda_k@Q}")
    else
      __remuda_undo+=("declare -g +x $__remuda_k=${!__remuda_k@Q}")
    fi
    builtin export "$__remuda_k=$2"
    shift 2
  done
  __remuda_n=$1
  shift
  for ((; __remuda_n > 0; __remuda_n--)); do
    builtin declare -g "$1=$2"
    shift 2
  done
  __remuda_scratch=() __remuda_anew=
  if [[ $__remuda_flags == *e* ]]; then
    __remuda_scratch=("${@:4:$3}")
    if [[ ! $2 ]]; then
      __remuda_anew=${__remuda_scratch[0]}
    else # the name that gets what the script prints
      __remuda_source=$__remuda_script
      __remuda_script="$2=\$(builtin eval \"\$__remuda_source\")"
    fi
  fi
  unset -v __remuda_fields
  # Where bash will keep its copies of 3 and 4: the first free numbers from 10.
  __remuda_copies=()
  for ((__remuda_n = 10; ${#__remuda_copies[@]} < 2; __remuda_n++)); do
    [[ -e /proc/self/fd/$__remuda_n ]] || __remuda_copies+=("$__remuda_n")
  done
  [[ $__remuda_traps == *" ERR"* && $__remuda_traps != *__remuda_error* ]] || builtin trap \
    '__remuda_status=$?; [[ $BASH_COMMAND == "builtin eval \"\$__remuda_script"* || $BASH_COMMAND == *"\$__remuda_source"* ]] || __remuda_error="$__remuda_status $LINENO $BASH_COMMAND"' ERR
  builtin trap - INT
  builtin eval "$__remuda_int"
}

# __remuda_end reports a script that ran to its end, after its EXIT trap. 9 is the
# script's stderr; the loop calls it with another one if the script has closed it.
__remuda_end() {
  set +euvx
  builtin trap -p >/proc/self/fd/4 # a file in memory; $(...) would fork
  IFS= builtin read -r -d '' __remuda_traps </proc/self/fd/4
  if [[ $__remuda_traps != *'__remuda_exit "$?"'* ]]; then
    local own
    own=$(builtin trap -p EXIT)
    builtin trap '__remuda_exit "$?"' EXIT
    builtin eval "set -- $own" # trap -- 'commands' EXIT
    builtin eval "$3" 2>&9
  fi
  __remuda_idle
  [[ $__remuda_anew ]] || __remuda_report "$__remuda_code"
}

# __remuda_idle undoes what was for one run only and shields the shell from a
# SIGINT that comes too late. After a run with scratch names the loop starts the
# shell anew, so that nothing of them is left in its memory.
__remuda_idle() {
  local undo
  __remuda_int=
  [[ $__remuda_traps != *" SIGINT"* ]] || __remuda_int=$(builtin trap -p INT)
  builtin trap : INT
  for undo in "${__remuda_undo[@]}"; do builtin eval "$undo"; done
  __remuda_undo=()
  [[ ! ${__remuda_scratch[0]} ]] || builtin unset -v "${__remuda_scratch[@]}" 2>/dev/null
}

# __remuda_report says how a run ended: "done CODE LINE COMMAND".
__remuda_report() {
  local where="0 "
  if [[ $1 != 0 && $__remuda_error == "$1 "* ]]; then
    where=${__remuda_error#* }
    where=${where//[$'\n\r']/ }
  fi
  builtin printf 'done %d %s\n' "$1" "${where:0:1000}" >&3
}

# __remuda_exit is the EXIT trap.
__remuda_exit() {
  __remuda_code=$1
  { set +euvx; } 2>/dev/null
  # At some exits bash has given 3 and 4 back, at some it still has its copies. A
  # copy of a copy would be closed by exec as well, unless it goes through 0.
  if [[ -S /proc/self/fd/${__remuda_copies[0]} ]]; then
    builtin eval "exec {__remuda_in}<&0 0<&${__remuda_copies[0]} 3>&0 0<&${__remuda_copies[1]} 4<&0 0<&\$__remuda_in {__remuda_in}<&-"
  fi
  builtin trap -p >/proc/self/fd/4
  IFS= builtin read -r -d '' __remuda_traps </proc/self/fd/4
  __remuda_idle
  if [[ $__remuda_flags == *f* ]]; then
    __remuda_report "$1"
    builtin exit "$1"
  fi
  {
    declare -p
    declare -f
    alias -p
    shopt -p
    set +o
    builtin trap -p
  } >/proc/self/fd/4 2>/dev/null
  __remuda_again=1 exec "$BASH" --noprofile --norc -c "$BASH_EXECUTION_STRING" bash
}
