//! Random numbers in stock, so that a mask costs no system call.

use lodger_backend::Net;

const STOCK: usize = 256;

/// Bytes of the system's generator, fetched 256 at a time.
pub(crate) struct Entropy {
    stock: [u8; STOCK],
    used: usize,
}

impl core::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Entropy")
    }
}

impl Entropy {
    pub(crate) const fn new() -> Self {
        Self { stock: [0; STOCK], used: STOCK }
    }

    /// Gives four bytes that a peer cannot guess.
    pub(crate) fn next(&mut self, net: &dyn Net) -> u32 {
        if self.used + 4 > STOCK {
            net.random(&mut self.stock);
            self.used = 0;
        }
        let mut word = [0; 4];
        if let Some(bytes) = self.stock.get_mut(self.used..self.used + 4) {
            word.copy_from_slice(bytes);
            bytes.fill(0);
        }
        self.used += 4;
        u32::from_ne_bytes(word)
    }
}
