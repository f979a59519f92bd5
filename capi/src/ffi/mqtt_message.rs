//! Messages of MQTT: publishing, and subscriptions.
#![allow(unsafe_code, reason = "reads messages of C, and calls back into it")]

use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;
use std::rc::Rc;

use lodger_core::mqtt::{Options, Outgoing, Properties, Property, PropertyList, Publish};
use lodger_core::mqtt::{Published, Qos};

use super::border::{Fail, LODGER_OK, Res, Sized, array, bytes, put, say, sized, text};
use super::mqtt::{lodger_mqtt_client, with};
use super::runtime::lodger_runtime;
use super::ws::millis;
use super::ws_client::lodger_field;

/// The server has taken the message; at QoS 0 it is in the output, and nobody says more.
pub const LODGER_MQTT_ACKNOWLEDGED: i32 = 0;
/// The server has refused it; `code` says why.
pub const LODGER_MQTT_REFUSED: i32 = 1;
/// Nothing was heard in time. It may still arrive.
pub const LODGER_MQTT_TIMED_OUT: i32 = 2;
/// It was dropped for a newer one, its session is lost, or the client has ended.
pub const LODGER_MQTT_LOST: i32 = 3;

/// Of a subscription: what the client itself publishes does not come back (MQTT 5.0).
pub const LODGER_MQTT_NO_LOCAL: u32 = 1;
/// Of a subscription: `retain` is as it was published (MQTT 5.0).
pub const LODGER_MQTT_RETAIN_AS_PUBLISHED: u32 = 2;

/// A message to be published. Zero in a field means none; the last four are of MQTT 5.0, and left
/// out in 3.1.1.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lodger_mqtt_message {
    /// `sizeof(lodger_mqtt_message)`.
    pub size: usize,
    /// Where: without wildcards. Not NULL.
    pub topic: *const c_char,
    /// What.
    pub payload: *const c_void,
    /// How many bytes.
    pub payload_len: usize,
    /// 0, 1 or 2.
    pub qos: i32,
    /// Not 0: the server keeps it for whoever subscribes later.
    pub retain: i32,
    /// Milliseconds after which its end is not waited for; 0 waits for ever.
    pub within_ms: u32,
    /// Seconds until it is of no use.
    pub expiry_s: u32,
    /// The media type of the payload.
    pub content_type: *const c_char,
    /// Where an answer is to be published.
    pub response_topic: *const c_char,
    /// What the answer repeats.
    pub correlation: *const c_void,
    /// How many bytes.
    pub correlation_len: usize,
    /// User properties.
    pub fields: *const lodger_field,
    /// How many of them.
    pub fields_len: usize,
}

// SAFETY: `repr(C)`, begins with its size; integers and nullable pointers.
unsafe impl Sized for lodger_mqtt_message {
    const FIRST: usize = size_of::<Self>();
    const NAME: &'static str = "lodger_mqtt_message";
}

/// A message that arrived, lent. Texts are not ended by a NUL; what is not there is NULL.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lodger_mqtt_received {
    /// Its size in this library: what is behind it is not there.
    pub size: usize,
    /// Where it was published.
    pub topic: *const c_char,
    /// How many bytes.
    pub topic_len: usize,
    /// What.
    pub payload: *const u8,
    /// How many bytes.
    pub payload_len: usize,
    /// 0, 1 or 2.
    pub qos: i32,
    /// Not 0: it was kept by the server.
    pub retain: i32,
    /// The media type of the payload.
    pub content_type: *const c_char,
    /// How many bytes.
    pub content_type_len: usize,
    /// Where an answer is to be published.
    pub response_topic: *const c_char,
    /// How many bytes.
    pub response_topic_len: usize,
    /// What the answer is to repeat.
    pub correlation: *const u8,
    /// How many bytes.
    pub correlation_len: usize,
}

/// Is told, once and from a turn, what became of a message: `LODGER_MQTT_...`, and of a refused one
/// its reason code.
pub type lodger_mqtt_published_fn = Option<
    unsafe extern "C-unwind" fn(
        rt: *mut lodger_runtime,
        outcome: i32,
        code: i32,
        user: *mut c_void,
    ),
>;

/// Is told of a message that a subscription matches.
pub type lodger_mqtt_message_fn = Option<
    unsafe extern "C-unwind" fn(
        rt: *mut lodger_runtime,
        message: *const lodger_mqtt_received,
        user: *mut c_void,
    ),
>;

/// A message of C's, read.
pub(super) struct Given<'a> {
    topic: &'a str,
    payload: &'a [u8],
    qos: Qos,
    retain: bool,
    within_ms: u32,
    properties: PropertyList,
}

impl<'a> Given<'a> {
    /// Reads a message; `None` for NULL.
    ///
    /// # Safety
    ///
    /// `p` is NULL, or as long as its size says; strings end with a NUL, data and arrays are as long
    /// as they say, and all of it stays for `'a`.
    pub(super) unsafe fn read(p: *const lodger_mqtt_message) -> Res<Option<Self>> {
        // SAFETY: the caller of this function promised it.
        let Some(message) = unsafe { sized(p) }? else { return Ok(None) };
        // SAFETY: as above.
        let topic = unsafe { text(message.topic, "the topic") }?;
        // SAFETY: as above.
        let payload = unsafe { bytes(message.payload, message.payload_len) }?;
        let (qos, retain) = (qos_of(message.qos)?, message.retain != 0);
        // SAFETY: as above.
        let properties = unsafe { properties_of(&message) }?;
        let within_ms = message.within_ms;
        Ok(Some(Self { topic, payload, qos, retain, within_ms, properties }))
    }

    pub(super) fn outgoing(&self) -> Outgoing<'_> {
        let message = Outgoing::new(self.topic, self.payload)
            .qos(self.qos)
            .retain(self.retain)
            .properties(&self.properties);
        if self.within_ms == 0 { message } else { message.within(millis(self.within_ms)) }
    }
}

fn qos_of(qos: i32) -> Res<Qos> {
    let known = u8::try_from(qos).ok().and_then(Qos::from_bits);
    known.ok_or_else(|| Fail::misuse("a QoS is 0, 1 or 2"))
}

/// # Safety
///
/// As [`Given::read`].
unsafe fn properties_of(message: &lodger_mqtt_message) -> Res<PropertyList> {
    let mut list = PropertyList::new();
    if message.expiry_s != 0 {
        list.push(Property::MessageExpiry(message.expiry_s))?;
    }
    if !message.content_type.is_null() {
        // SAFETY: the caller of this function promised it.
        list.push(Property::ContentType(unsafe { text(message.content_type, "the type") }?))?;
    }
    if !message.response_topic.is_null() {
        // SAFETY: as above.
        let topic = unsafe { text(message.response_topic, "the response topic") }?;
        list.push(Property::ResponseTopic(topic))?;
    }
    // SAFETY: as above.
    let correlation = unsafe { bytes(message.correlation, message.correlation_len) }?;
    if !correlation.is_empty() {
        list.push(Property::CorrelationData(correlation))?;
    }
    // SAFETY: as above.
    for field in unsafe { array(message.fields, message.fields_len) }? {
        // SAFETY: as above.
        let name = unsafe { text(field.name, "a field's name") }?;
        // SAFETY: as above.
        list.push(Property::User(name, unsafe { text(field.value, "a field's value") }?))?;
    }
    Ok(list)
}

/// Publishes a message. At QoS 1 and 2 it waits while there is no connection or no room, and
/// `published` is told its end with `user`; both may be NULL. `LODGER_E_GONE`: there is no connection
/// for QoS 0, or the client was ended. `LODGER_E_FULL`: too much waits; the handler hears `writable`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_mqtt_publish(
    client: Option<&lodger_mqtt_client>,
    message: *const lodger_mqtt_message,
    published: lodger_mqtt_published_fn,
    user: *mut c_void,
) -> i32 {
    with(client, |client, connection| {
        // SAFETY: the contract of structs with a size, and of what they point to.
        let given = unsafe { Given::read(message) }?.ok_or_else(|| Fail::null("the message"))?;
        let Some(f) = published else {
            connection.publish(given.outgoing())?;
            return Ok(LODGER_OK);
        };
        let (weak, live) = (client.rt.clone(), Rc::clone(&client.live));
        connection.publish_then(given.outgoing(), move |_, end| {
            let Some(rt) = weak.upgrade().filter(|_| live.get()) else { return };
            let (outcome, code) = outcome_of(end);
            // SAFETY: the caller promised that it may be called with `user` until
            // `lodger_mqtt_free`, which was not called.
            unsafe { f(lodger_runtime::pointer(&rt), outcome, code, user) };
        })?;
        Ok(LODGER_OK)
    })
}

fn outcome_of(end: Published) -> (i32, i32) {
    match end {
        Published::Acknowledged => (LODGER_MQTT_ACKNOWLEDGED, 0),
        Published::Refused(code) => {
            say(&format!("the server refuses: {code}"));
            (LODGER_MQTT_REFUSED, i32::from(code.0))
        }
        Published::TimedOut => (LODGER_MQTT_TIMED_OUT, 0),
        _ => (LODGER_MQTT_LOST, 0),
    }
}

/// Subscribes: `f` is told of each message that matches `filter` (a topic with the wildcards + and #, or
/// "$share/GROUP/FILTER"), until `lodger_mqtt_unsubscribe`. `qos` is the highest to be heard; `flags`
/// are `LODGER_MQTT_...`. Several subscriptions with one filter are one at the server, with the options
/// of the latest. The server's answer is heard by the handler. `*out` names the subscription, and
/// may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_mqtt_subscribe(
    client: Option<&lodger_mqtt_client>,
    filter: *const c_char,
    qos: i32,
    flags: u32,
    f: lodger_mqtt_message_fn,
    user: *mut c_void,
    out: Option<&mut MaybeUninit<u64>>,
) -> i32 {
    with(client, |client, connection| {
        // SAFETY: the contract of strings.
        let filter = unsafe { text(filter, "the filter") }?;
        let f = f.ok_or_else(|| Fail::null("the function for messages"))?;
        if flags & !(LODGER_MQTT_NO_LOCAL | LODGER_MQTT_RETAIN_AS_PUBLISHED) != 0 {
            return Err(Fail::misuse("a flag of a subscription that is none"));
        }
        let mut options = Options::new(qos_of(qos)?);
        options.no_local = flags & LODGER_MQTT_NO_LOCAL != 0;
        options.retain_as_published = flags & LODGER_MQTT_RETAIN_AS_PUBLISHED != 0;
        let (weak, live) = (client.rt.clone(), Rc::clone(&client.live));
        let sub = connection.subscribe_with(filter, options, move |_, publish| {
            let Some(rt) = weak.upgrade().filter(|_| live.get()) else { return };
            let message = received(publish);
            // SAFETY: the caller promised that it may be called with `user` until it unsubscribes;
            // the message stays until it returns.
            unsafe { f(lodger_runtime::pointer(&rt), &raw const message, user) };
        })?;
        let id = client.last.get() + 1;
        client.last.set(id);
        client.subs.borrow_mut().insert(id, sub);
        out.map_or(Ok(LODGER_OK), |out| put(Some(out), id))
    })
}

fn received(publish: &Publish<'_>) -> lodger_mqtt_received {
    let of = publish.properties;
    let content = of.find(|p| if let Property::ContentType(t) = p { Some(t) } else { None });
    let response = of.find(|p| if let Property::ResponseTopic(t) = p { Some(t) } else { None });
    let correlation = correlation_of(of);
    lodger_mqtt_received {
        size: size_of::<lodger_mqtt_received>(),
        topic: publish.topic.as_ptr().cast(),
        topic_len: publish.topic.len(),
        payload: publish.payload.as_ptr(),
        payload_len: publish.payload.len(),
        qos: i32::from(publish.qos as u8),
        retain: i32::from(publish.retain),
        content_type: content.map_or(std::ptr::null(), |text| text.as_ptr().cast()),
        content_type_len: content.map_or(0, str::len),
        response_topic: response.map_or(std::ptr::null(), |text| text.as_ptr().cast()),
        response_topic_len: response.map_or(0, str::len),
        correlation: correlation.map_or(std::ptr::null(), <[u8]>::as_ptr),
        correlation_len: correlation.map_or(0, <[u8]>::len),
    }
}

fn correlation_of(of: Properties<'_>) -> Option<&[u8]> {
    of.find(|p| if let Property::CorrelationData(data) = p { Some(data) } else { None })
}

/// Ends a subscription: its function is not called any more. `LODGER_E_GONE`: it has ended before.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_mqtt_unsubscribe(
    client: Option<&lodger_mqtt_client>,
    subscription: u64,
) -> i32 {
    with(client, |client, _| {
        let sub = client.subs.borrow_mut().remove(&subscription);
        sub.map(|_| LODGER_OK).ok_or_else(|| Fail::from(lodger_core::Gone))
    })
}
