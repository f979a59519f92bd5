//! The conformance kit: the ten laws of a guest, and flow control, for any backend and host.
//!
//! A law is a function that takes a [`Subject`], which is a driver, a net and a host loop, puts
//! the kit's own [`Guest`] into it and reports what it saw, or how the law was broken. What is
//! judged is counted: wakeups, turns, order, bytes, and the CPU time of the loop's thread.
//! Lateness is reported; it is judged only against a bound that a busy machine keeps too.
//!
//! A backend runs the whole kit by naming its parts once; each law becomes a test of that name:
//!
//! ```text
//! lodger_backend::backend_suite!(standalone, || {
//!     Subject::new("mio", || Ok(Box::new(MioDriver::new()?)), || Ok(Rc::new(OsNet::new()?)),
//!         || Ok(Rc::new(Alone::new())))
//! });
//! ```
//!
//! An adaptor implements [`Loop`] for its host in place of [`Alone`]. That the kit notices is
//! shown by what breaks the laws on purpose: [`Fault`] in a driver, [`Lapse`] in a host, [`Flaw`]
//! in the guest. The kit measures by what Linux offers (epoll, `/proc`, a thread's CPU clock) and
//! runs there only.

use core::fmt;
use core::time::Duration;
use std::boxed::Box;
use std::io;
use std::rc::Rc;
use std::string::String;
use std::vec::Vec;

use crate::{Driver, Net};

mod broken;
mod clock;
mod guest;
mod host;
mod laws;
mod process;
mod stage;
mod triggers;

pub use broken::{Broken, Fault};
pub use guest::{Counts, Flaw, Guest, Id, Mailbox, OnData, TimerId};
pub use host::{Alone, Lapse, Loop, Stay, Watcher, Watching};
pub use laws::{
    a_hundred_stays_leave_nothing, flow_control, law_1_idle_means_no_wakeups,
    law_2_a_turn_is_bounded, law_3_a_callback_may_run_the_host_again,
    law_4_detaching_leaves_the_loop_as_it_was, law_5_a_cancelled_timer_never_runs,
    law_6_a_short_timer_is_late_by_microseconds, law_7_a_waker_works_from_any_thread,
    law_8_a_reused_number_is_nobody_elses, law_9_a_paused_reader_costs_nothing,
    law_10_nothing_is_added_to_the_process, several_guests_share_a_loop,
};
pub use process::alone;
pub use triggers::Emulated;

/// A law: looks at a subject, and says what it saw.
pub type Law = fn(&Subject) -> Verdict;

/// The ten laws and flow control by name, for a host that tests cannot be written in.
pub const LAWS: [(&str, Law); 11] = [
    ("law_1_idle_means_no_wakeups", law_1_idle_means_no_wakeups),
    ("law_2_a_turn_is_bounded", law_2_a_turn_is_bounded),
    ("law_3_a_callback_may_run_the_host_again", law_3_a_callback_may_run_the_host_again),
    ("law_4_detaching_leaves_the_loop_as_it_was", law_4_detaching_leaves_the_loop_as_it_was),
    ("law_5_a_cancelled_timer_never_runs", law_5_a_cancelled_timer_never_runs),
    ("law_6_a_short_timer_is_late_by_microseconds", law_6_a_short_timer_is_late_by_microseconds),
    ("law_7_a_waker_works_from_any_thread", law_7_a_waker_works_from_any_thread),
    ("law_8_a_reused_number_is_nobody_elses", law_8_a_reused_number_is_nobody_elses),
    ("law_9_a_paused_reader_costs_nothing", law_9_a_paused_reader_costs_nothing),
    ("law_10_nothing_is_added_to_the_process", law_10_nothing_is_added_to_the_process),
    ("flow_control", flow_control),
];

/// What an adaptor to a host for any number of guests keeps beside them.
pub const ADAPTOR_LAWS: [(&str, Law); 2] = [
    ("several_guests_share_a_loop", several_guests_share_a_loop),
    ("a_hundred_stays_leave_nothing", a_hundred_stays_leave_nothing),
];

type Make<T> = Box<dyn Fn() -> io::Result<T>>;

/// What is put to the test: how to make a driver, a net and a host.
pub struct Subject {
    name: String,
    driver: Make<Box<dyn Driver>>,
    net: Make<Rc<dyn Net>>,
    host: Make<Rc<dyn Loop>>,
    flaw: Flaw,
    patience: Duration,
}

impl Subject {
    /// Names the parts. Each law makes them anew.
    pub fn new(
        name: impl Into<String>,
        driver: impl Fn() -> io::Result<Box<dyn Driver>> + 'static,
        net: impl Fn() -> io::Result<Rc<dyn Net>> + 'static,
        host: impl Fn() -> io::Result<Rc<dyn Loop>> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            driver: Box::new(driver),
            net: Box::new(net),
            host: Box::new(host),
            flaw: Flaw::Sound,
            patience: Duration::from_secs(20),
        }
    }

    /// Breaks the guest.
    #[must_use]
    pub fn with_flaw(mut self, flaw: Flaw) -> Self {
        self.flaw = flaw;
        self
    }

    /// Sets how long a law waits for what must happen before it gives up (20 s).
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a law saw, for people to read: a line a figure.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report(Vec<String>);

impl Report {
    fn note(&mut self, line: impl Into<String>) {
        self.0.push(line.into());
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// How a law was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self(format!("a system call failed: {error}"))
    }
}

/// A law's answer.
pub type Verdict = Result<Report, Failure>;

/// Fails with a text unless `holds`.
fn must(holds: bool, text: impl FnOnce() -> String) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure(text())) }
}

/// Shows what a law saw.
///
/// # Panics
///
/// The law was broken.
#[expect(clippy::print_stdout, reason = "a test shows its figures")]
pub fn assert_holds(subject: &Subject, law: fn(&Subject) -> Verdict) {
    match law(subject) {
        Ok(report) => print!("{}:\n{report}", subject.name),
        Err(failure) => panic!("{}: {failure}", subject.name),
    }
}

/// Shows how a law noticed that it was broken.
///
/// # Panics
///
/// The law noticed nothing.
#[expect(clippy::print_stdout, reason = "a test shows its figures")]
pub fn assert_caught(subject: &Subject, law: fn(&Subject) -> Verdict) {
    match law(subject) {
        Err(failure) => println!("{}: caught: {failure}", subject.name),
        Ok(report) => panic!("{}: a broken backend passed:\n{report}", subject.name),
    }
}

/// Makes a module of two more tests for an adaptor to a host that takes any number of guests:
/// several share a loop, and a hundred stays leave nothing behind.
#[macro_export]
macro_rules! adaptor_suite {
    ($name:ident, $subject:expr) => {
        mod $name {
            use super::*;

            $crate::backend_suite!(@each $subject, several_guests_share_a_loop);

            #[test]
            fn a_hundred_stays_leave_nothing() {
                let name = concat!(module_path!(), "::a_hundred_stays_leave_nothing");
                $crate::suite::alone(name, || {
                    $crate::suite::assert_holds(
                        &($subject)(),
                        $crate::suite::a_hundred_stays_leave_nothing,
                    );
                });
            }
        }
    };
}

/// Makes a module of tests, one a law and one of flow control, of a function that gives the
/// [`Subject`]. Law 10 looks at the whole process, so its test runs in a process of its own.
#[macro_export]
macro_rules! backend_suite {
    ($name:ident, $subject:expr) => {
        mod $name {
            use super::*;

            $crate::backend_suite!(@each $subject,
                law_1_idle_means_no_wakeups
                law_2_a_turn_is_bounded
                law_3_a_callback_may_run_the_host_again
                law_4_detaching_leaves_the_loop_as_it_was
                law_5_a_cancelled_timer_never_runs
                law_6_a_short_timer_is_late_by_microseconds
                law_7_a_waker_works_from_any_thread
                law_8_a_reused_number_is_nobody_elses
                law_9_a_paused_reader_costs_nothing
                flow_control
            );

            #[test]
            fn law_10_nothing_is_added_to_the_process() {
                let name = concat!(module_path!(), "::law_10_nothing_is_added_to_the_process");
                $crate::suite::alone(name, || {
                    $crate::suite::assert_holds(
                        &($subject)(),
                        $crate::suite::law_10_nothing_is_added_to_the_process,
                    );
                });
            }
        }
    };
    (@each $subject:expr, $($law:ident)*) => {
        $(
            #[test]
            fn $law() {
                $crate::suite::assert_holds(&($subject)(), $crate::suite::$law);
            }
        )*
    };
}
