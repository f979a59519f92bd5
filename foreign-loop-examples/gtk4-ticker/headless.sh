#!/bin/sh
# headless.sh PROGRAM...: runs it in a display of its own that nobody sees. The program takes this
# shell's place, and the display ends with its last window.
set -e
number=$(mktemp)
timeout 300 Xvfb -displayfd 3 -terminate -nolisten tcp -screen 0 640x480x24 3>"$number" 2>/dev/null &
while [ ! -s "$number" ]; do sleep 0.1; done
DISPLAY=":$(cat "$number")"
rm "$number"
# Without OpenGL and icons GTK starts no threads that come and go.
export DISPLAY GDK_BACKEND=x11 GSK_RENDERER=cairo GDK_DEBUG=gl-disable GTK_CSD=0
export GTK_A11Y=none NO_AT_BRIDGE=1 GSETTINGS_BACKEND=memory
exec "$@"
