//! lodger on mio.
