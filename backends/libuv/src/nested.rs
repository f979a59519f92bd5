//! The usual way: libuv watches the one descriptor of the guest's own queue.

use std::cell::RefCell;
use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::{Rc, Weak};

use lodger_backend::Nested;

use crate::Attached;
use crate::ffi::{self, Call, Handle, Kind, Last, Loop, READABLE};
use crate::seat::{House, Seat, Want};

/// Watches the descriptor of `guest`, and asks it before the loop blocks.
pub(crate) fn attach(uv_loop: Loop, guest: Rc<dyn Nested>) -> io::Result<Attached> {
    let fd = guest.fd()?;
    guest.host(&ffi::version());
    let seat = Seat::new(uv_loop, guest);
    let room = Room::open(uv_loop, fd, &seat)?;
    seat.furnish(room);
    Ok(Attached::new(seat))
}

/// The handles of a nested guest. All but the poll leave the loop free to end.
#[derive(Debug)]
struct Room(RefCell<Option<Handles>>);

#[derive(Debug)]
struct Handles {
    poll: Handle,
    prepare: Handle,
    idle: Handle,
    timer: Handle,
    /// Closed after the poll handle, which libuv has told to stop by then.
    _fd: OwnedFd,
}

impl Room {
    fn open(uv_loop: Loop, fd: OwnedFd, seat: &Rc<Seat>) -> io::Result<Rc<Self>> {
        let room = Rc::new(Self(RefCell::default()));
        let open = |kind, call| Handle::new(uv_loop, kind, call);
        let on_poll = call(&room, seat, |room, seat, status| {
            room.with(|handles| handles.idle.stop());
            if status < 0 { seat.fail(ffi::error(status)) } else { seat.dispatch() }
        });
        let on_idle = call(&room, seat, |room, seat, _| {
            room.with(|handles| handles.idle.stop());
            seat.dispatch();
        });
        let handles = Handles {
            poll: Handle::poll(uv_loop, fd.as_raw_fd(), on_poll)?,
            prepare: open(Kind::Prepare, call(&room, seat, |room, seat, _| room.prepare(seat)))?,
            idle: open(Kind::Idle, on_idle)?,
            timer: open(Kind::Timer, call(&room, seat, |_, seat, _| seat.dispatch()))?,
            _fd: fd,
        };
        for quiet in [&handles.prepare, &handles.idle, &handles.timer] {
            quiet.keep_alive(false);
        }
        handles.poll.start_poll(READABLE)?;
        handles.prepare.start();
        *room.0.borrow_mut() = Some(handles);
        Ok(room)
    }

    /// The loop is about to block. What an outer turn has taken out of the queue is not announced
    /// by the descriptor, and a modal loop that the guest was not told of finds its alarm unset.
    fn prepare(&self, seat: &Seat) {
        let want = seat.want();
        self.with(|handles| match want {
            Want::Turn => handles.idle.start(),
            Want::In(micros) => handles.timer.start_timer(seat.uv_loop().millis_until(micros)),
            Want::Nothing => {}
        });
    }

    fn with(&self, f: impl FnOnce(&Handles)) {
        if let Some(handles) = &*self.0.borrow() {
            f(handles);
        }
    }
}

impl House for Room {
    fn close(self: Rc<Self>, last: &Rc<Last>) {
        let handles = self.0.borrow_mut().take();
        if let Some(Handles { poll, prepare, idle, timer, _fd }) = handles {
            for handle in [poll, prepare, idle, timer] {
                handle.close(last);
            }
        }
    }

    fn keep_alive(&self, on: bool) {
        self.with(|handles| handles.poll.keep_alive(on));
    }
}

/// Makes a callback that keeps nothing alive.
fn call(room: &Rc<Room>, seat: &Rc<Seat>, f: fn(&Room, &Seat, c_int)) -> Rc<Call> {
    let (room, seat): (Weak<Room>, Weak<Seat>) = (Rc::downgrade(room), Rc::downgrade(seat));
    Rc::new(move |status, _| {
        if let (Some(room), Some(seat)) = (room.upgrade(), seat.upgrade()) {
            f(&room, &seat, status);
        }
    })
}
