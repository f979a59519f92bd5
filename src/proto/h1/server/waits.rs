//! The waits for a peer: for its next request, for the rest of a head, for enough of a body.

use lodger_backend::Micros;

use super::{EXPECT, REARM, Reading, Server};
use crate::error::Error;
use crate::limits::{H1Limits, Limits};
use crate::proto::Cx;
use crate::proto::h1::Fault;

impl Server {
    /// Begins the current wait anew: for a runtime that did not read for reasons of its own.
    pub fn restart_clock(&mut self) {
        self.flags |= REARM;
    }

    /// Begins the wait that the last answer opened, for a caller that asks for the deadline
    /// without having polled since. Otherwise does nothing.
    pub fn begin_wait(&mut self, now: Micros, limits: &Limits) {
        if self.has(REARM) {
            self.arm(now, &limits.h1);
        }
    }

    /// Gives when [`on_deadline`](Self::on_deadline) is to be called; a time that has passed is
    /// "soon". `None` while it is not the peer who is waited for.
    pub fn deadline(&self) -> Option<Micros> {
        let waits = match self.reading {
            Reading::Idle | Reading::Head => true,
            Reading::Body => !self.has(EXPECT),
            Reading::Done | Reading::Stopped | Reading::Switched => false,
        };
        waits.then_some(if self.has(REARM) { Micros::ZERO } else { self.at })
    }

    /// Moves time to `cx.now`. Early and repeated calls do nothing.
    ///
    /// # Errors
    ///
    /// `Peer`: the connection was idle for too long, or a head or body came too slowly; that is
    /// answered with 408 in `tx` if no answer has begun.
    pub fn on_deadline(&mut self, cx: &mut Cx<'_>) -> Result<(), Error> {
        let Some(at) = self.deadline() else { return Ok(()) };
        if self.has(REARM) {
            self.arm(cx.now, &cx.limits.h1);
            return Ok(());
        }
        if at > cx.now {
            return Ok(());
        }
        let fault = match self.reading {
            Reading::Idle => Fault { status: 0, rule: "the limit of idle time" },
            Reading::Head => Fault { status: 408, rule: "the limit of a head's time" },
            _ => {
                if self.keeps_rate(cx.now, &cx.limits.h1) {
                    return Ok(());
                }
                Fault { status: 408, rule: "the limit of a body's rate" }
            }
        };
        Err(self.fail(fault))
    }

    /// Sets when the wait that begins now is over.
    pub(super) fn arm(&mut self, now: Micros, limits: &H1Limits) {
        self.flags &= !REARM;
        self.at = match self.reading {
            Reading::Head => now + limits.head_time,
            Reading::Body => {
                self.body.counted = 0;
                now + limits.body_grace + limits.body_window
            }
            _ => now + limits.idle,
        };
    }

    /// Tells whether enough of a body has come in the window that is over, and begins the next.
    fn keeps_rate(&mut self, now: Micros, limits: &H1Limits) -> bool {
        let least = u64::from(limits.body_rate).saturating_mul(limits.body_window.as_secs());
        let enough = u64::from(self.body.counted) >= least;
        self.body.counted = 0;
        self.at = now + limits.body_window;
        enough
    }
}
