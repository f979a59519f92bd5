//! The ten laws and flow control, on this driver: alone, and nested in the reference hosts.

use std::io;
use std::rc::Rc;

use lodger_backend::suite::{Alone, Emulated, Loop, Subject, Watcher, Watching};
use lodger_backend::{Driver, Net, Trigger, backend_suite};
use lodger_mio::{MioDriver, OsNet};

fn net() -> io::Result<Rc<dyn Net>> {
    Ok(Rc::new(OsNet::new()?))
}

fn driver() -> io::Result<Box<dyn Driver>> {
    Ok(Box::new(MioDriver::new()?))
}

/// Takes three reports a poll, so that the list is nearly always full.
fn short_driver() -> io::Result<Box<dyn Driver>> {
    Ok(Box::new(MioDriver::with_events(3)?))
}

fn emulated(trigger: Trigger) -> io::Result<Box<dyn Driver>> {
    Ok(Box::new(Emulated::new(driver()?, trigger)))
}

fn alone() -> io::Result<Rc<dyn Loop>> {
    Ok(Rc::new(Alone::new()))
}

fn nested(watching: Watching) -> io::Result<Rc<dyn Loop>> {
    Ok(Rc::new(Watcher::new(watching)))
}

backend_suite!(standalone, || Subject::new("standalone", driver, net, alone));

backend_suite!(nested, || Subject::new("nested", driver, net, || nested(Watching::Level)));

backend_suite!(nested_asking, || {
    Subject::new("nested, asking", driver, net, || nested(Watching::LevelAsking))
});

backend_suite!(nested_edge, || {
    Subject::new("nested, edge", driver, net, || nested(Watching::Edge))
});

backend_suite!(nested_edge_careless, || {
    Subject::new("nested, careless edge", short_driver, net, || nested(Watching::EdgeCareless))
});

backend_suite!(nested_short_list, || {
    Subject::new("nested, short list", short_driver, net, || nested(Watching::Level))
});

backend_suite!(level, || {
    Subject::new("level", || emulated(Trigger::Level), net, || nested(Watching::Level))
});

backend_suite!(oneshot, || {
    Subject::new("oneshot", || emulated(Trigger::Oneshot), net, || nested(Watching::Level))
});
