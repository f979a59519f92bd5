# A host on select(), without a window: tclsh many.tcl PATH/TO/tk.so
load [lindex $argv 0] Shim
guest_start "Tcl $tcl_patchLevel"
proc tick {} {
    if {[guest_tick]} {
        guest_end
        exit 0
    }
    after 10 tick
}
tick
vwait forever
