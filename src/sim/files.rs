//! The files of the simulated world: content by path, directories by what is in them.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;
use std::io;
use std::path::Path;

use lodger_backend::{File, Meta, Micros};

type Content = Rc<RefCell<Vec<u8>>>;

#[derive(Debug)]
pub(super) struct Files {
    /// By path, without a slash in front.
    there: BTreeMap<String, (Content, Micros)>,
    open: BTreeMap<u64, Open>,
    count: u64,
    /// The system sends files itself.
    pub(super) sends: bool,
}

#[derive(Debug)]
enum Open {
    Dir(String),
    File(Content),
}

impl Default for Files {
    fn default() -> Self {
        Self { there: BTreeMap::new(), open: BTreeMap::new(), count: 0, sends: true }
    }
}

impl Files {
    pub(super) fn put(&mut self, path: &str, content: &[u8], modified: Micros) {
        let content = Rc::new(RefCell::new(content.to_vec()));
        self.there.insert(trimmed(path).to_string(), (content, modified));
    }

    pub(super) fn cut(&self, path: &str, len: usize) {
        if let Some((content, _)) = self.there.get(trimmed(path)) {
            content.borrow_mut().truncate(len);
        }
    }

    pub(super) fn remove(&mut self, path: &str) {
        self.there.remove(trimmed(path));
    }

    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    pub(super) fn open_dir(&mut self, path: &Path) -> io::Result<File> {
        let path = path.to_string_lossy();
        let path = trimmed(&path);
        if !self.is_dir(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(self.keep(Open::Dir(path.to_string())))
    }

    /// `epoch`: when the world began, in seconds since 1970.
    pub(super) fn open_beneath(
        &mut self,
        root: File,
        path: &str,
        epoch: u64,
    ) -> io::Result<(File, Meta)> {
        let Some(Open::Dir(dir)) = self.open.get(&root.bits()) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let path = if dir.is_empty() { path.to_string() } else { std::format!("{dir}/{path}") };
        if path.split('/').any(|segment| segment.is_empty() || segment == "..") {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut meta = Meta { is_dir: true, len: 0, modified: epoch, nanos: 0 };
        let opened = match self.there.get(&path) {
            Some((content, at)) => {
                meta.is_dir = false;
                meta.len = content.borrow().len() as u64;
                meta.modified = epoch + at.get() / 1_000_000;
                meta.nanos = u32::try_from(at.get() % 1_000_000 * 1_000).unwrap_or(0);
                Open::File(Rc::clone(content))
            }
            None if self.is_dir(&path) => Open::Dir(path),
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok((self.keep(opened), meta))
    }

    /// Copies a part of a file; empty behind its end.
    pub(super) fn part(&self, file: File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let Some(Open::File(content)) = self.open.get(&file.bits()) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let content = content.borrow();
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = content.get(from..).unwrap_or_default();
        Ok(rest.get(..len).unwrap_or(rest).to_vec())
    }

    pub(super) fn read_at(&self, file: File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let part = self.part(file, offset, buf.len())?;
        for (to, from) in buf.iter_mut().zip(&part) {
            *to = *from;
        }
        Ok(part.len())
    }

    pub(super) fn close(&mut self, file: File) {
        self.open.remove(&file.bits());
    }

    /// The root is always there.
    fn is_dir(&self, path: &str) -> bool {
        let below =
            |name: &String| name.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        path.is_empty() || self.there.keys().any(below)
    }

    fn keep(&mut self, open: Open) -> File {
        self.count += 1;
        self.open.insert(self.count, open);
        File::from_bits(self.count)
    }
}

fn trimmed(path: &str) -> &str {
    path.trim_matches('/')
}
