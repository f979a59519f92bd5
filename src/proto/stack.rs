//! What a connection speaks: the only place that knows more than one protocol.

use crate::Error;
use crate::io::{Rx, Scratch, Tx};
use crate::proto::Cx;
use lodger_backend::Micros;

#[cfg(feature = "h1")]
use crate::proto::h1;
#[cfg(feature = "ws")]
use crate::proto::ws;
