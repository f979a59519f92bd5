# A window, and in the same thread a server and a client: wish main.tcl PATH/TO/shim.so
package require Tk

load [lindex $argv 0] Shim
guest_start "Tcl/Tk $tcl_patchLevel"

wm title . "lodger in Tk"
pack [label .ticks -font {Helvetica 24} -width 24 -pady 12]
pack [label .feed -font {Helvetica 14} -pady 12]

set ticks 0
set next [clock milliseconds]
proc tick {} {
    global ticks next
    incr ticks
    if {[guest_tick]} {
        guest_end
        exit 0
    }
    if {$ticks % 10 == 0} {
        lassign [guest_state] messages connected
        .ticks configure -text "$ticks ticks"
        .feed configure -text "feed: $messages messages, [expr {$connected ? {connected} : {waiting}}]"
    }
    # The host's own timer, without drift.
    incr next 10
    after [expr {max(0, $next - [clock milliseconds])}] tick
}
tick
