//! The loop around the runtime where the program waits for descriptors of its own.
//!
//! Standard input and output are files, pipes or terminals, which the runtime does not watch. So
//! the program is a host like any other: it polls its own descriptors and the runtime's one, and
//! needs neither a thread nor a change to what it shares with the shell.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use lodger::{Handle, Nested};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A runtime and what tells that it has something to do.
#[derive(Debug)]
pub(crate) struct Loop {
    h: Handle,
    queue: OwnedFd,
    again: bool,
}

impl Loop {
    /// Takes a runtime in.
    ///
    /// # Errors
    ///
    /// The system gave no descriptor.
    pub(crate) fn new(h: &Handle) -> io::Result<Self> {
        let queue = h.fd()?;
        Ok(Self { h: h.clone(), queue, again: true })
    }

    /// Waits until the runtime or one of `own` has something to do, and lets the runtime do it.
    /// Gives what each of `own` is ready for; one that nothing is wanted of is not looked at.
    ///
    /// # Errors
    ///
    /// The system's queue failed.
    pub(crate) fn turn<const N: usize>(
        &mut self,
        own: [(BorrowedFd<'_>, PollFlags); N],
    ) -> io::Result<[PollFlags; N]> {
        let now = self.again || self.h.pending().work;
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        // One without flags would still report its hang-up, for ever.
        let wanted = own.iter().filter(|(_, flags)| !flags.is_empty());
        let mut watched: Vec<PollFd<'_>> =
            wanted.map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        watched.push(PollFd::new(&self.queue, PollFlags::IN));
        match poll(&mut watched, now.then_some(&zero)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let mut found = watched.iter().map(PollFd::revents);
        let ready = own.map(|(_, flags)| {
            let looked = if flags.is_empty() { None } else { found.next() };
            looked.unwrap_or(PollFlags::empty())
        });
        if now || found.next().is_some_and(|queue| !queue.is_empty()) {
            self.again = self.h.dispatch()?.again;
        }
        Ok(ready)
    }
}

/// Gives the flags to wait for, or none.
pub(crate) fn wanted(yes: bool, flags: PollFlags) -> PollFlags {
    if yes { flags } else { PollFlags::empty() }
}
