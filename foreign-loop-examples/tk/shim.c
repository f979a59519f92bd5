/* lodger in Tcl's loop: a file handler watches the guest's descriptor. Loaded by main.tcl. */
#include <tcl.h>

#include "guest.h"

static struct guest guest;

static void readable(ClientData rt, int mask)
{
    (void)mask;
    lodger_dispatch((lodger_runtime *)rt);
}

static void leave(void *host)
{
    (void)host;
    Tcl_DeleteFileHandler(lodger_fd(guest.rt));
}

/* guest_start NAME: puts the guest into the loop, and listens. */
static int start(ClientData data, Tcl_Interp *interp, int argc, Tcl_Obj *const argv[])
{
    (void)data;
    if (argc != 2) {
        Tcl_WrongNumArgs(interp, 1, argv, "name");
        return TCL_ERROR;
    }
    guest_start(&guest, Tcl_GetString(argv[1]), leave, NULL);
    Tcl_CreateFileHandler(lodger_fd(guest.rt), TCL_READABLE, readable, guest.rt);
    return TCL_OK;
}

/* guest_tick: counts a tick of the host's; gives 1 when it is to end. */
static int tick(ClientData data, Tcl_Interp *interp, int argc, Tcl_Obj *const argv[])
{
    (void)data, (void)argc, (void)argv;
    Tcl_SetObjResult(interp, Tcl_NewIntObj(guest_tick(&guest)));
    return TCL_OK;
}

/* guest_state: messages that the feed has sent, and whether it is there. */
static int state(ClientData data, Tcl_Interp *interp, int argc, Tcl_Obj *const argv[])
{
    Tcl_Obj *parts[2] = { Tcl_NewWideIntObj((Tcl_WideInt)guest.messages),
                          Tcl_NewIntObj(guest.connected) };

    (void)data, (void)argc, (void)argv;
    Tcl_SetObjResult(interp, Tcl_NewListObj(2, parts));
    return TCL_OK;
}

/* guest_end: ends it. */
static int end(ClientData data, Tcl_Interp *interp, int argc, Tcl_Obj *const argv[])
{
    (void)data, (void)interp, (void)argc, (void)argv;
    lodger_free(guest.rt);
    return TCL_OK;
}

int Shim_Init(Tcl_Interp *interp)
{
    Tcl_CreateObjCommand(interp, "guest_start", start, NULL, NULL);
    Tcl_CreateObjCommand(interp, "guest_tick", tick, NULL, NULL);
    Tcl_CreateObjCommand(interp, "guest_state", state, NULL, NULL);
    Tcl_CreateObjCommand(interp, "guest_end", end, NULL, NULL);
    return TCL_OK;
}
