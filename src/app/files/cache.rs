//! Open files by name, for a short time and up to a number.

use std::boxed::Box;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::{Rc, Weak};
use std::string::String;
use std::time::Duration;

use lodger_backend::{Meta, Micros};

use super::{Files, Found, Lines};
use crate::Handle;
use crate::runtime::file::OpenFile;

/// What is known of some names. An entry that has lived its time is opened anew, so a change is
/// seen after that at the latest; a timer that runs only while there are entries lets them go.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: RefCell<BTreeMap<Box<str>, Entry>>,
    sweeps: Cell<bool>,
}

#[derive(Debug)]
struct Entry {
    until: Micros,
    /// `None`: it is not there.
    found: Option<Rc<Found>>,
}

impl Cache {
    /// Gives what is known of a name.
    pub(super) fn get(&self, name: &str, now: Micros) -> Option<Option<Rc<Found>>> {
        let entries = self.entries.borrow();
        entries.get(name).filter(|entry| now < entry.until).map(|entry| entry.found.clone())
    }

    /// Keeps what was found under a name. At the cap the oldest makes room.
    pub(super) fn put(&self, name: &str, found: Option<Rc<Found>>, until: Micros, most: usize) {
        let mut entries = self.entries.borrow_mut();
        if entries.len() >= most && !entries.contains_key(name) {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.until);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                entries.remove(&oldest);
            }
        }
        entries.insert(Box::from(name), Entry { until, found });
    }

    /// Makes sure that entries are let go of when their time is over.
    pub(super) fn keep_swept(&self, files: &Weak<Files>, h: &Handle, every: Duration) {
        if self.sweeps.replace(true) {
            return;
        }
        let files = Weak::clone(files);
        h.after(every, move |h| {
            if let Some(owner) = files.upgrade() {
                owner.cache.sweep(&files, h, every);
            }
        });
    }

    fn sweep(&self, files: &Weak<Files>, h: &Handle, every: Duration) {
        let now = h.now();
        self.entries.borrow_mut().retain(|_, entry| now < entry.until);
        self.sweeps.set(false);
        if !self.entries.borrow().is_empty() {
            self.keep_swept(files, h, every);
        }
    }
}

/// The directory, opened when it is needed first.
#[derive(Debug, Default)]
pub(super) struct Root(RefCell<Option<Rc<OpenFile>>>);

impl Root {
    pub(super) fn get(&self, h: &Handle, dir: &std::path::Path) -> io::Result<Rc<OpenFile>> {
        if let Some(root) = &*self.0.borrow() {
            return Ok(Rc::clone(root));
        }
        let root = Rc::new(h.open_dir(dir)?);
        *self.0.borrow_mut() = Some(Rc::clone(&root));
        Ok(root)
    }
}

impl Found {
    /// Describes a file that was opened just now, at `now` by the world's clock. `tail` is what
    /// its tag ends in.
    pub(super) fn new(file: OpenFile, meta: Meta, tail: &str, now: u64, lines: &Lines) -> Self {
        let is_weak = now < meta.modified.saturating_add(super::SETTLED);
        let mark = if is_weak { "W/" } else { "" };
        let Meta { modified, nanos, len, .. } = meta;
        let mut validators =
            std::format!("ETag: {mark}\"{modified:x}.{nanos:x}-{len:x}{tail}\"\r\n");
        let tag = ("ETag: ".len(), validators.len() - "\r\n".len());
        validators.push_str("Last-Modified: ");
        // A date is ASCII.
        let date = crate::proto::h1::http_date(modified);
        validators.push_str(core::str::from_utf8(&date).unwrap_or_default());
        validators.push_str("\r\n");
        validators.push_str(&lines.cache_control);
        Self { file: Rc::new(file), meta, is_weak, validators, tag, lines: String::new(), mime: "" }
    }
}
