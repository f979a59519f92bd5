#!/bin/sh
# Runs a Wayland client under a sway without a screen, and ends with the client's exit code.
# LODGER_SHOT=FILE takes a picture of its second second, as PPM.
set -e
dir=$(mktemp -d)
# sway refuses to run as root.
as=
if [ "$(id -u)" = 0 ]; then
    chown 65534:65534 "$dir"
    as="setpriv --reuid 65534 --regid 65534 --clear-groups"
fi
chmod 700 "$dir"
echo 'output HEADLESS-1 resolution 640x480' > "$dir/config"
chmod 644 "$dir/config"
export XDG_RUNTIME_DIR="$dir"
WLR_BACKENDS=headless WLR_LIBINPUT_NO_DEVICES=1 WLR_RENDERER=pixman HOME="$dir" \
    $as sway --config "$dir/config" > "$dir/log" 2>&1 &
sway=$!
client=
trap 'kill $client $sway 2> /dev/null; wait $sway 2> /dev/null || true; rm -rf "$dir"' EXIT
trap 'exit 143' TERM INT

tries=0
until socket=$(ls "$dir" | grep -x 'wayland-[0-9]*'); do
    tries=$((tries + 1))
    if [ $tries = 300 ] || ! kill -0 $sway; then
        echo "sway has not come up:" >&2
        tail -n 5 "$dir/log" >&2
        exit 1
    fi
    sleep 0.1
done
export WAYLAND_DISPLAY="$socket"
"$@" &
client=$!
if [ -n "$LODGER_SHOT" ]; then
    sleep 1
    grim -t ppm "$LODGER_SHOT"
fi
code=0
wait $client || code=$?
client=
exit $code
