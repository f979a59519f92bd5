#!/bin/sh
# Compiles an example against lodger.h and the library of `cargo build -p lodger-capi`:
#   build.sh TARGET-FOLDER NAME SOURCE [-FLAG or pkg-config name of the host's library]...
# NAME goes to TARGET-FOLDER/examples; one that ends with .so is a module.
set -eu
target=$1 name=$2 source=$3
shift 3
here=$(dirname "$0")
case $source in
*.cpp) set -- c++ -std=c++17 -fPIC "$@" ;;
*) set -- cc -std=c11 -D_GNU_SOURCE "$@" ;;
esac
case $name in *.so) set -- "$@" -shared -fPIC ;; esac
command= libraries=
for word; do
    case $word in
    -l*) libraries="$libraries $word" ;;
    -* | cc | c++) command="$command $word" ;;
    *)
        command="$command $(pkg-config --cflags "$word")"
        libraries="$libraries $(pkg-config --libs "$word")"
        ;;
    esac
done
mkdir -p "$target/examples"
# What is split at spaces is meant to be.
# shellcheck disable=SC2086
exec $command -Wall -Wextra -Werror -g -O1 -I "$here/../../capi/include" -I "$here" \
    "$here/../$source" -o "$target/examples/$name" \
    -L "$target/debug" -Wl,-rpath,"$target/debug" -llodger $libraries
