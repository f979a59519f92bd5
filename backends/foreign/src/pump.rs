//! The pump: a turn for each frame.

use std::fmt;
use std::io;
use std::rc::Rc;

use lodger_backend::{Micros, Nested, Turn};

/// A guest of a loop that never waits: a game's, with a call for each frame.
///
/// Whatever the time between frames, that is how late the guest is. A loop that sleeps between
/// frames can sleep less: until [`Turn::deadline`].
pub struct Pump(Rc<dyn Nested>);

impl fmt::Debug for Pump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pump")
    }
}

impl Pump {
    /// Takes a guest in, and tells it the name of its host. Dropping the pump lets it go: it gets no
    /// turn, and what arrives meanwhile is found in a later one.
    pub fn new(guest: impl Nested + 'static, name: &str) -> Self {
        Self::new_rc(Rc::new(guest), name)
    }

    /// As [`new`](Self::new), for a guest that is shared already.
    pub fn new_rc(guest: Rc<dyn Nested>, name: &str) -> Self {
        guest.host(name);
        Self(guest)
    }

    /// Runs one bounded turn; never waits. May be called again from inside itself.
    ///
    /// - `now`: the time on a clock of the caller's, which need not be the guest's.
    /// - Returns when the guest next wants a turn, on the caller's clock, and whether it wants one
    ///   at once (`again`): in this frame if there is time, else in the next.
    ///
    /// # Errors
    ///
    /// The guest's kernel queue failed.
    pub fn turn(&self, now: Micros) -> io::Result<Turn> {
        let turn = self.0.dispatch()?;
        let guests = self.0.now();
        Ok(Turn { deadline: turn.deadline.map(|at| now + at.since(guests)), ..turn })
    }
}
