//! A journal in a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use lodger_backend::Journal;

/// A journal in a file, with a second one beside it (`.new`) while it is replaced.
///
/// The end of the program loses nothing that was appended. A power cut may lose what the system has
/// not written yet, some seconds' worth, unless every append is synchronised.
#[derive(Debug)]
pub struct FileJournal {
    path: PathBuf,
    file: File,
    len: u64,
    sync: bool,
}

impl FileJournal {
    /// Opens the file, made if it is not there. `sync`: every append waits until the disk has it
    /// (`fdatasync`), which takes as long as that takes.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn open(path: impl AsRef<Path>, sync: bool) -> io::Result<Self> {
        let path = path.as_ref().to_path_buf();
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
        let len = file.metadata()?.len();
        Ok(Self { path, file, len, sync })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        if self.sync { self.file.sync_data() } else { Ok(()) }
    }
}

impl Journal for FileJournal {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn read(&mut self, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(buf, at)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.write(bytes) {
            Ok(()) => {
                self.len += bytes.len() as u64;
                Ok(())
            }
            Err(e) => {
                // A part of it would stand in front of what is appended next.
                let _ = self.file.set_len(self.len);
                Err(e)
            }
        }
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.len = len;
        Ok(())
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut fresh = self.path.clone().into_os_string();
        fresh.push(".new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&fresh, &self.path)?;
        self.file = OpenOptions::new().read(true).append(true).open(&self.path)?;
        self.len = bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_and_replaced_comes_back() {
        let path = std::env::temp_dir().join(format!("lodger-journal-{}", std::process::id()));
        let mut journal = FileJournal::open(&path, true).unwrap();
        journal.append(b"one").unwrap();
        journal.append(b"two").unwrap();
        journal.truncate(4).unwrap();
        journal.append(b"!").unwrap();
        drop(journal);

        let mut journal = FileJournal::open(&path, false).unwrap();
        let mut buf = [0; 16];
        let n = journal.read(1, &mut buf).unwrap();
        assert_eq!(&buf[..n], b"net!");
        journal.replace(b"new").unwrap();
        journal.append(b"er").unwrap();
        let n = journal.read(0, &mut buf).unwrap();
        assert_eq!(&buf[..n], b"newer");
        assert_eq!(journal.name(), path.display().to_string());

        std::fs::remove_file(path).unwrap();
    }
}
