"""What of lodger.h this example needs, by ctypes: a runtime, routes, WebSockets, an asyncio guest."""

import ctypes
import os
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_int, c_int32, c_size_t
from ctypes import c_uint16, c_uint32, c_uint64, c_void_p, create_string_buffer, sizeof, string_at

lib = ctypes.CDLL(os.environ.get("LODGER_LIBRARY", "liblodger.so"))

ROUTE = CFUNCTYPE(None, c_void_p, c_void_p, c_void_p, c_void_p)
ACCEPT = CFUNCTYPE(c_uint16, c_void_p, c_void_p, POINTER(c_void_p))
OPEN = CFUNCTYPE(None, c_void_p, c_uint64, c_void_p)
MESSAGE = CFUNCTYPE(None, c_void_p, c_uint64, c_int32, c_void_p, c_size_t, c_void_p)
WRITABLE = CFUNCTYPE(None, c_void_p, c_uint64, c_size_t, c_void_p)
CLOSED = CFUNCTYPE(None, c_void_p, c_uint64, c_int32, c_uint16, c_void_p)
FREE = CFUNCTYPE(None, c_void_p)
RETRY = CFUNCTYPE(None, c_void_p, c_uint64, c_int32, c_void_p)


class WsHandler(Structure):
    _fields_ = [("size", c_size_t), ("accept", ACCEPT), ("open", OPEN), ("message", MESSAGE),
                ("writable", WRITABLE), ("closed", CLOSED), ("free_state", FREE)]


class WsClientOptions(Structure):
    _fields_ = [("size", c_size_t), ("url", c_char_p), ("ws", c_void_p), ("fields", c_void_p),
                ("fields_len", c_size_t), ("attempts", c_int32), ("delays_ms", POINTER(c_uint32)),
                ("delays_len", c_size_t), ("jitter_percent", c_int32), ("up_after_ms", c_uint32),
                ("on_retry", RETRY)]


class TlsOptions(Structure):
    _fields_ = [("size", c_size_t), ("certificate_file", c_char_p), ("key_file", c_char_p),
                ("certificate", c_char_p), ("certificate_len", c_size_t), ("key", c_char_p),
                ("key_len", c_size_t), ("roots_file", c_char_p), ("roots", c_char_p),
                ("roots_len", c_size_t), ("alpn", POINTER(c_char_p)), ("alpn_len", c_size_t),
                ("flags", c_uint32)]


CONNECTED = CFUNCTYPE(None, c_void_p, c_int32, c_void_p)
DISCONNECTED = CFUNCTYPE(None, c_void_p, c_int32, c_int32, c_uint64, c_void_p)
SUBSCRIBED = CFUNCTYPE(None, c_void_p, c_void_p, c_size_t, c_int32, c_void_p)
ROOM = CFUNCTYPE(None, c_void_p, c_void_p)
PUBLISHED = CFUNCTYPE(None, c_void_p, c_int32, c_int32, c_void_p)


class MqttHandler(Structure):
    _fields_ = [("size", c_size_t), ("connected", CONNECTED), ("refused", CONNECTED),
                ("disconnected", DISCONNECTED), ("subscribed", SUBSCRIBED), ("writable", ROOM)]


class MqttMessage(Structure):
    _fields_ = [("size", c_size_t), ("topic", c_char_p), ("payload", c_char_p),
                ("payload_len", c_size_t), ("qos", c_int32), ("retain", c_int32),
                ("within_ms", c_uint32), ("expiry_s", c_uint32), ("content_type", c_char_p),
                ("response_topic", c_char_p), ("correlation", c_char_p),
                ("correlation_len", c_size_t), ("fields", c_void_p), ("fields_len", c_size_t)]


class MqttReceived(Structure):
    _fields_ = [("size", c_size_t), ("topic", c_void_p), ("topic_len", c_size_t),
                ("payload", c_void_p), ("payload_len", c_size_t), ("qos", c_int32),
                ("retain", c_int32), ("content_type", c_void_p), ("content_type_len", c_size_t),
                ("response_topic", c_void_p), ("response_topic_len", c_size_t),
                ("correlation", c_void_p), ("correlation_len", c_size_t)]


HEARD = CFUNCTYPE(None, c_void_p, POINTER(MqttReceived), c_void_p)


class MqttOptions(Structure):
    _fields_ = [("size", c_size_t), ("url", c_char_p), ("client_id", c_char_p),
                ("version", c_int32), ("keep_alive_s", c_int32), ("session_s", c_uint32),
                ("username", c_char_p), ("password", c_char_p), ("password_len", c_size_t),
                ("will", POINTER(MqttMessage)), ("will_delay_s", c_uint32),
                ("birth", POINTER(MqttMessage)), ("drop_oldest", c_int32), ("attempts", c_int32),
                ("delays_ms", POINTER(c_uint32)), ("delays_len", c_size_t),
                ("jitter_percent", c_int32), ("up_after_ms", c_uint32)]


def _declare(name, *arguments, result=c_int32):
    function = getattr(lib, f"lodger_{name}")
    function.argtypes, function.restype = arguments, result
    return function


_last_error = _declare("last_error", result=c_char_p)
_new = _declare("new", c_void_p, POINTER(c_void_p))
_free = _declare("free", c_void_p)
_fd = _declare("fd", c_void_p)
_dispatch = _declare("dispatch", c_void_p)
_detach = _declare("detach", c_void_p)
_host = _declare("host", c_void_p, c_char_p)
_server_new = _declare("server_new", result=c_void_p)
_server_route = _declare("server_route", c_void_p, c_char_p, c_char_p, ROUTE, c_void_p)
_server_ws = _declare("server_ws", c_void_p, c_char_p, POINTER(WsHandler), c_void_p, c_void_p)
_server_live = _declare("server_live", c_void_p, c_char_p, c_char_p)
_server_tls = _declare("server_tls", c_void_p, POINTER(TlsOptions))
_listen = _declare("listen", c_void_p, c_char_p, c_void_p, POINTER(c_uint64))
_local_addr = _declare("local_addr", c_void_p, c_uint64, c_char_p, c_size_t)
_respond = _declare("respond", c_void_p, c_char_p, c_char_p, c_size_t)
_ws_send = _declare("ws_send", c_void_p, c_uint64, c_int32, c_void_p, c_size_t)
_ws_connect = _declare("ws_connect", c_void_p, POINTER(WsClientOptions), POINTER(WsHandler),
                       c_void_p, c_void_p)

_listen_mqtt = _declare("listen_mqtt", c_void_p, c_char_p, POINTER(TlsOptions), POINTER(c_uint64))
_mqtt_connect = _declare("mqtt_connect", c_void_p, POINTER(MqttOptions), POINTER(MqttHandler),
                         c_void_p, POINTER(c_void_p))
_mqtt_publish = _declare("mqtt_publish", c_void_p, POINTER(MqttMessage), PUBLISHED, c_void_p)
_mqtt_subscribe = _declare("mqtt_subscribe", c_void_p, c_char_p, c_int32, c_uint32, HEARD, c_void_p,
                           POINTER(c_uint64))
_mqtt_free = _declare("mqtt_free", c_void_p)


def _check(code):
    if code < 0:
        raise OSError(_last_error().decode())
    return code


class Runtime:
    """A guest: routes are added first, then it listens, then a loop takes it."""

    def __init__(self):
        pointer = c_void_p()
        _check(_new(None, byref(pointer)))
        self._rt = pointer
        self._server = _server_new()
        self._kept = []  # what C calls must not be collected
        self._loop = None

    def _keep(self, value):
        self._kept.append(value)
        return value

    def get(self, pattern, answer):
        """Answers GET of `pattern` with the text that `answer()` gives; if it raises, with a 500."""

        def route(_rt, _request, response, _user):
            text = answer().encode()
            _respond(response, b"text/plain; charset=utf-8", text, len(text))

        _check(_server_route(self._server, b"GET", pattern.encode(), self._keep(ROUTE(route)), None))

    def _handler(self, on_open, on_message, on_closed):
        return self._keep(WsHandler(
            sizeof(WsHandler), ACCEPT(), OPEN(lambda _rt, conn, _s: on_open(conn)),
            MESSAGE(lambda _rt, conn, kind, data, length, _s: on_message(conn, kind, data, length)),
            WRITABLE(), CLOSED(lambda _rt, conn, reason, _code, _s: on_closed(conn, reason)), FREE()))

    def echo(self, pattern):
        """Sends every message of a WebSocket back."""

        def message(conn, kind, data, length):
            _ws_send(self._rt, conn, kind, data, length)

        handler = self._handler(lambda conn: None, message, lambda conn, reason: None)
        _check(_server_ws(self._server, pattern.encode(), byref(handler), None, None))

    def live(self, path, also):
        """Serves the live page."""
        _check(_server_live(self._server, path.encode(), also.encode()))

    def tls(self, certificate, key):
        """Has it be served over TLS, by PEM files."""
        options = TlsOptions(size=sizeof(TlsOptions), certificate_file=os.fsencode(certificate),
                             key_file=os.fsencode(key))
        _check(_server_tls(self._server, byref(options)))

    def listen(self, address):
        """Listens with the routes so far, and gives the real address."""
        listener, text = c_uint64(), create_string_buffer(64)
        _check(_listen(self._rt, address.encode(), self._server, byref(listener)))
        _check(_local_addr(self._rt, listener, text, len(text)))
        return text.value.decode()

    def subscribe(self, url, on_open, on_message, on_closed):
        """Connects a WebSocket, and again by policy: after 100, 200, 400, 800 ms."""
        delays = self._keep((c_uint32 * 4)(100, 200, 400, 800))
        handler = self._handler(
            lambda conn: on_open(),
            lambda conn, kind, data, length: on_message(string_at(data, length) if length else b""),
            lambda conn, reason: on_closed())
        options = WsClientOptions(sizeof(WsClientOptions), url.encode(), None, None, 0, -1, delays,
                                  len(delays), 10, 0, RETRY())
        _check(_ws_connect(self._rt, byref(options), byref(handler), None, None))

    def listen_mqtt(self, address):
        """Has MQTT clients hear each other there, and gives the real address."""
        listener, text = c_uint64(), create_string_buffer(64)
        _check(_listen_mqtt(self._rt, address.encode(), None, byref(listener)))
        _check(_local_addr(self._rt, listener, text, len(text)))
        return text.value.decode()

    def attach(self, loop, name):
        """Puts the guest into a running asyncio loop: it watches ONE descriptor for input."""
        self._loop = loop
        _check(_host(self._rt, name.encode()))
        loop.add_reader(_check(_fd(self._rt)), self._dispatch)

    def _dispatch(self):
        if _dispatch(self._rt) < 0:
            self.detach()

    def detach(self):
        """Takes it out, also from inside a callback."""
        if self._loop is not None:
            self._loop.remove_reader(_fd(self._rt))
            self._loop = None

    def close(self):
        """Ends it."""
        self.detach()
        _free(self._rt)
        self._rt = None


class Refused(Exception):
    """A message that the server did not take."""


class Mqtt:
    """An MQTT client in a guest that is attached; connects again by itself, for ever."""

    def __init__(self, runtime, url, client_id=None, session_s=0, will=None):
        """`will`: a topic and a payload that the server publishes when this client is lost."""
        self._loop, self._kept, self._waiting, self._number = runtime._loop, [], {}, 0
        self.is_connected = False
        # One function for all publishes: the number says which of them has come to its end.
        self._published = PUBLISHED(self._end_of)
        handler = MqttHandler(
            sizeof(MqttHandler), CONNECTED(lambda _rt, _present, _s: self._set(True)), CONNECTED(),
            DISCONNECTED(lambda _rt, _reason, _code, _retry, _s: self._set(False)), SUBSCRIBED(),
            ROOM())
        self._kept.append(handler)
        options = MqttOptions(size=sizeof(MqttOptions), url=url.encode(), session_s=session_s,
                              client_id=client_id.encode() if client_id else None, attempts=-1)
        if will:
            options.will = ctypes.pointer(self._message(*will, 1, False))
        self._client = c_void_p()
        _check(_mqtt_connect(runtime._rt, byref(options), byref(handler), None, byref(self._client)))

    def _set(self, connected):
        self.is_connected = connected

    @staticmethod
    def _message(topic, payload, qos, retain):
        return MqttMessage(size=sizeof(MqttMessage), topic=topic.encode(), payload=payload,
                           payload_len=len(payload), qos=qos, retain=retain)

    def publish(self, topic, payload, qos=1, retain=False):
        """Publishes bytes. Gives a future: done when the server has taken them."""
        future, self._number = self._loop.create_future(), self._number + 1
        message = self._message(topic, payload, qos, retain)
        _check(_mqtt_publish(self._client, byref(message), self._published, self._number))
        self._waiting[self._number] = future
        return future

    def _end_of(self, _rt, outcome, code, number):
        future = self._waiting.pop(number)
        if future.cancelled():
            return
        if outcome == 0:
            future.set_result(None)
        else:
            why = ["", f"refused: 0x{code:02X}", "timed out", "lost"][outcome]
            future.set_exception(Refused(why))

    def subscribe(self, filter, f, qos=1):
        """Calls `f(topic, payload)` for each message that matches."""

        def heard(_rt, message, _user):
            m = message.contents
            topic = string_at(m.topic, m.topic_len).decode()
            f(topic, string_at(m.payload, m.payload_len) if m.payload_len else b"")

        heard = HEARD(heard)
        self._kept.append(heard)
        _check(_mqtt_subscribe(self._client, filter.encode(), qos, 0, heard, None, None))

    def close(self):
        """Says goodbye. What was not taken yet is cancelled."""
        _mqtt_free(self._client)
        for future in self._waiting.values():
            future.cancel()
        self._waiting.clear()
