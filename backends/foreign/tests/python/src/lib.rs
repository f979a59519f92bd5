//! The ten laws of a guest in a loop of Python's: the kit in Rust, the loop in `run.py`, which is
//! called through `Host` and calls the `suite_` functions.
//!
//! One thread and one law a process, so what the two sides share is the thread's.

mod ffi;
mod host;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use lodger_backend::suite::{ADAPTOR_LAWS, LAWS, Loop, Subject};
use lodger_backend::{Driver, Net};
use lodger_foreign::Table;
use lodger_mio::{MioDriver, OsNet};

use host::{Borrowed, Host, PyOps};

fn net() -> io::Result<Rc<dyn Net>> {
    Ok(Rc::new(OsNet::new()?))
}

/// A guest whose one descriptor Python's loop watches.
fn nested(host: Host) -> Subject {
    let driver = || -> io::Result<Box<dyn Driver>> { Ok(Box::new(MioDriver::new()?)) };
    let make = move || -> io::Result<Rc<dyn Loop>> { Ok(Rc::new(Borrowed::nested(host))) };
    Subject::new("a loop of Python's", driver, net, make)
}

/// A guest whose every descriptor it watches. The table comes with the driver, and then the loop
/// of the same.
fn table(host: Host) -> Subject {
    let made: Rc<RefCell<Option<Table>>> = Rc::default();
    let taken = Rc::clone(&made);
    let driver = move || -> io::Result<Box<dyn Driver>> {
        let table = Table::new(Box::new(PyOps::new(host)));
        *made.borrow_mut() = Some(table.clone());
        host::lay(&table);
        Ok(table.driver())
    };
    let make = move || -> io::Result<Rc<dyn Loop>> {
        let table = taken.borrow_mut().take().ok_or(io::ErrorKind::NotFound)?;
        Ok(Rc::new(Borrowed::on(host, table)))
    };
    Subject::new("a table of Python's", driver, net, make)
}

/// Runs one law; gives what it saw, or how it was broken.
fn run(host: Host, way: &str, law: &str) -> Result<String, String> {
    let mut laws = LAWS.iter().chain(&ADAPTOR_LAWS);
    let (_, law) = laws.find(|(name, _)| *name == law).ok_or("there is no such law")?;
    let subject = match way {
        "nested" => nested(host),
        "table" => table(host),
        _ => return Err("there is no such way".into()),
    };
    law(&subject).map(|report| report.to_string()).map_err(|failure| failure.to_string())
}
