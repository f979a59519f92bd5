//! Open files: opened below a directory and nowhere else, by index and generation as sockets are.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use lodger_backend::{File, Meta, Sock};
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat};
use rustix::io::Errno;

use super::slab::Slab;
use super::system;

/// A pipe without a writer is no reason to wait, a terminal is not taken over.
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

#[derive(Debug, Default)]
pub(super) struct Files {
    open: RefCell<Slab>,
    /// Whether SIGPIPE is ignored; unknown until somebody asks.
    quiet: Cell<Option<bool>>,
}

impl Files {
    /// Calls `f` with the open file.
    pub(super) fn with<T>(
        &self,
        file: File,
        f: impl FnOnce(BorrowedFd<'_>) -> rustix::io::Result<T>,
    ) -> io::Result<T> {
        match self.open.borrow().get(Sock::from_bits(file.bits())) {
            Some(fd) => f(fd.as_fd()).map_err(io::Error::from),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    pub(super) fn open_dir(&self, path: &Path) -> io::Result<File> {
        let fd = openat(CWD, path, READ | OFlags::DIRECTORY, Mode::empty())?;
        Ok(self.keep(fd))
    }

    pub(super) fn open_beneath(&self, root: File, path: &str) -> io::Result<(File, Meta)> {
        let fd = self.with(root, |root| system::open_beneath(root, path, READ))?;
        let meta = meta(&fstat(&fd)?).ok_or(io::ErrorKind::NotFound)?;
        Ok((self.keep(fd), meta))
    }

    pub(super) fn close(&self, file: File) {
        drop(self.open.borrow_mut().remove(Sock::from_bits(file.bits())));
    }

    /// Whether `sendfile` raises no signal here. Asked of the system once.
    pub(super) fn may_send(&self) -> bool {
        let quiet = self.quiet.get().unwrap_or_else(system::ignores_sigpipe);
        self.quiet.set(Some(quiet));
        quiet
    }

    fn keep(&self, fd: OwnedFd) -> File {
        File::from_bits(self.open.borrow_mut().insert(fd).bits())
    }
}

/// Gives what the guest may know; `None` for what is neither a file nor a directory.
#[allow(
    clippy::allow_attributes,
    clippy::useless_conversion,
    reason = "the width of these numbers differs between systems"
)]
fn meta(stat: &Stat) -> Option<Meta> {
    let is_dir = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => true,
        FileType::RegularFile => false,
        _ => return None,
    };
    Some(Meta {
        is_dir,
        len: u64::try_from(stat.st_size).unwrap_or(0),
        modified: u64::try_from(stat.st_mtime).unwrap_or(0),
        nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
    })
}

/// Opens `path` segment by segment, following no link: what can be done without `openat2`.
pub(super) fn walk(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let (dirs, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut dir: Option<OwnedFd> = None;
    for segment in dirs.split('/').filter(|segment| !segment.is_empty()) {
        let at = dir.as_ref().map_or(root, |dir| dir.as_fd());
        dir = Some(open_one(at, segment, flags | OFlags::DIRECTORY)?);
    }
    open_one(dir.as_ref().map_or(root, |dir| dir.as_fd()), name, flags)
}

fn open_one(at: BorrowedFd<'_>, name: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    if matches!(name, "" | "." | "..") {
        return Err(Errno::NOENT);
    }
    openat(at, name, flags | OFlags::NOFOLLOW, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    /// A directory of its own, removed with the test.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let id = std::process::id();
            let path = std::env::temp_dir().join(format!("lodger-mio-files-{id}-{name}"));
            fs::create_dir_all(path.join("root/dir")).unwrap();
            fs::write(path.join("root/dir/a.txt"), "inside").unwrap();
            fs::write(path.join("secret"), "outside").unwrap();
            symlink("dir/a.txt", path.join("root/in")).unwrap();
            symlink("../secret", path.join("root/out")).unwrap();
            symlink(path.join("secret"), path.join("root/absolute")).unwrap();
            symlink("/", path.join("root/top")).unwrap();
            Self(path)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            // A directory that is left does no harm.
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn read(files: &Files, file: File) -> String {
        let mut buf = [0; 64];
        let n = files.with(file, |fd| rustix::io::pread(fd, &mut buf, 0)).unwrap();
        String::from_utf8_lossy(&buf[..n]).into_owned()
    }

    #[test]
    fn what_is_below_the_root_is_opened_and_nothing_else() {
        let place = Place::new("below");
        let files = Files::default();
        let root = files.open_dir(&place.0.join("root")).unwrap();

        let (file, meta) = files.open_beneath(root, "dir/a.txt").unwrap();
        assert_eq!((read(&files, file), meta.is_dir, meta.len), ("inside".into(), false, 6));
        assert!(meta.modified > 1_600_000_000);
        assert!(files.open_beneath(root, "dir").unwrap().1.is_dir);
        for outside in ["../secret", "dir/../../secret", "/etc/passwd", "out", "absolute"] {
            assert!(files.open_beneath(root, outside).is_err(), "{outside}");
        }
        assert!(files.open_beneath(root, "top/etc/passwd").is_err());
    }

    #[test]
    fn links_are_followed_only_by_the_kernel_that_can_keep_them_inside() {
        let place = Place::new("links");
        let dir = rustix::fs::open(place.0.join("root"), READ, Mode::empty()).unwrap();

        for (path, opens) in [("dir/a.txt", true), ("dir", true), ("in", false), ("out", false)] {
            assert_eq!(walk(dir.as_fd(), path, READ).is_ok(), opens, "{path}");
        }
        for outside in ["..", "../secret", "dir/../../secret", "top/etc/passwd", ""] {
            assert!(walk(dir.as_fd(), outside, READ).is_err(), "{outside}");
        }
        #[cfg(target_os = "linux")]
        assert!(system::open_beneath(dir.as_fd(), "in", READ).is_ok());
    }

    #[test]
    fn what_is_no_file_is_not_found_and_not_waited_for() {
        let place = Place::new("fifo");
        let made = std::process::Command::new("mkfifo").arg(place.0.join("root/pipe")).status();
        let Ok(true) = made.map(|status| status.success()) else {
            println!("skipped: no mkfifo");
            return;
        };
        let files = Files::default();
        let root = files.open_dir(&place.0.join("root")).unwrap();

        let refused = files.open_beneath(root, "pipe").unwrap_err();

        assert_eq!(refused.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_closed_file_is_not_there() {
        let place = Place::new("closed");
        let files = Files::default();
        let root = files.open_dir(&place.0).unwrap();

        files.close(root);
        files.close(root);

        let gone = files.open_beneath(root, "secret").unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotConnected);
    }
}
