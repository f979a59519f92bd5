//! The handles beside the sockets' of a guest whose every socket libuv watches.

use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use crate::alarm::Alarm;
use crate::ffi::{Bell, Call, Doorbell, Handle, Kind, Last, Loop};
use crate::per_fd::Inner;
use crate::seat::{Seat, Want};

/// One of each. Turns are had at the end of a batch, in the check; all others see to it that there
/// is one. All but the check leave the loop free to end.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) uv_loop: Loop,
    pub(crate) check: Handle,
    pub(crate) idle: Handle,
    pub(crate) alarm: Alarm,
    prepare: Handle,
    bell: Bell,
}

impl Desk {
    pub(crate) fn open(
        uv_loop: Loop,
        inner: &Rc<Inner>,
        seat: &Rc<Seat>,
        doorbell: &Arc<Doorbell>,
    ) -> io::Result<Self> {
        let open = |kind, f| Handle::new(uv_loop, kind, call(inner, seat, f));
        let desk = Self {
            uv_loop,
            check: open(Kind::Check, |inner, seat| {
                if inner.is_due() {
                    inner.rest();
                    seat.dispatch();
                    inner.restart();
                }
            })?,
            // Started, it keeps the loop from sleeping; the check stops it.
            idle: open(Kind::Idle, |_, _| {})?,
            alarm: Alarm::open(uv_loop, call(inner, seat, |inner, _| inner.alarm()))?,
            prepare: open(Kind::Prepare, |inner, seat| match seat.want() {
                Want::Turn => inner.request(),
                // A modal loop that the guest was not told of: it has not set its deadline.
                Want::In(micros) => inner.hurry(micros),
                Want::Nothing => {}
            })?,
            bell: Bell::new(uv_loop, doorbell, call(inner, seat, |inner, _| inner.request()))?,
        };
        for quiet in [&desk.idle, &desk.prepare] {
            quiet.keep_alive(false);
        }
        desk.check.start();
        desk.prepare.start();
        Ok(desk)
    }

    pub(crate) fn close(self, last: &Rc<Last>) {
        for handle in [self.check, self.idle, self.prepare] {
            handle.close(last);
        }
        self.alarm.close(last);
        self.bell.close(last);
    }
}

/// Makes a callback that keeps nothing alive.
fn call(inner: &Rc<Inner>, seat: &Rc<Seat>, f: fn(&Rc<Inner>, &Seat)) -> Rc<Call> {
    let (inner, seat): (Weak<Inner>, Weak<Seat>) = (Rc::downgrade(inner), Rc::downgrade(seat));
    Rc::new(move |_, _| {
        if let (Some(inner), Some(seat)) = (inner.upgrade(), seat.upgrade()) {
            f(&inner, &seat);
        }
    })
}
