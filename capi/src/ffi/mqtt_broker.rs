//! A broker of MQTT in a runtime.
#![allow(unsafe_code, reason = "reads options of C")]

use std::ffi::c_char;
use std::mem::MaybeUninit;

use lodger_core::tls;

use super::border::{LODGER_OK, on, put, text};
use super::runtime::lodger_runtime;
use super::tls::{lodger_tls_options, server_of};

/// Listens for MQTT, and has every client hear what the others publish: over TLS if `tls` is not NULL.
/// All listeners of a runtime are one broker's, which keeps sessions and messages in memory.
/// Everybody may connect, publish and subscribe: listen where only those reach it who may. `*out`
/// names the listener, and may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_listen_mqtt(
    rt: Option<&lodger_runtime>,
    address: *const c_char,
    tls: *const lodger_tls_options,
    out: Option<&mut MaybeUninit<u64>>,
) -> i32 {
    on(rt, |rt| {
        rt.check_alive()?;
        // SAFETY: the contract of strings.
        let address = unsafe { text(address, "the address") }?;
        // SAFETY: the contract of structs with a size, and of what they point to.
        let secured = unsafe { server_of(tls) }?;
        let (handle, broker) = (rt.handle(), rt.broker());
        let id = match &secured {
            None => handle.listen(address, broker).map_err(|refused| refused.error)?,
            Some(config) => {
                let server = tls::Server::new(config, broker);
                handle.listen(address, server).map_err(|refused| refused.error)?
            }
        };
        out.map_or(Ok(LODGER_OK), |out| put(Some(out), id.bits()))
    })
}
