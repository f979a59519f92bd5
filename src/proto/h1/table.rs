//! Raw bytes, and what a server makes of them: a row for each clause that attackers try. Each row
//! runs whole, byte by byte and cut at random.

use std::string::String;
use std::vec::Vec;

use super::check::{Trace, read, serve};
use crate::error::Wire;
use crate::limits::Limits;
use crate::proto::split::assert_same_for_any_cut;

/// What becomes of the input.
enum Outcome {
    /// Refused with this status, then closed; 0 is closed without a word.
    Refused(u16),
    /// These events, by how each begins, and no error.
    Taken(&'static [&'static str]),
}
use Outcome::{Refused, Taken};

type Row = (&'static str, &'static str, Outcome);

/// Both a length and a coding, or a coding that is not exactly `chunked`.
#[rustfmt::skip]
const FRAMING: &[Row] = &[
    ("CL and TE", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("TE and CL", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n", Refused(400)),
    ("TE in 1.0", "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("TE unknown", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", Refused(501)),
    ("TE identity", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n", Refused(501)),
    ("TE almost", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", Refused(501)),
    ("TE list", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("TE chunked twice", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("TE two lines", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("TE parameter", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", Refused(400)),
    ("TE empty", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n", Refused(400)),
    ("TE quoted", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", Refused(400)),
    ("TE vertical tab", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("TE any case", "POST / HTTP/1.1\r\nHost: x\r\ntransfer-ENCODING:\t ChunKed \t\r\n\r\n0\r\n\r\n", Taken(&["POST / ", "end"])),
    ("CL twice, equal", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", Refused(400)),
    ("CL twice, different", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", Refused(400)),
    ("CL list", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\na", Refused(400)),
    ("CL plus", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na", Refused(400)),
    ("CL minus", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\na", Refused(400)),
    ("CL hex", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x1\r\n\r\na", Refused(400)),
    ("CL underscore", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1_0\r\n\r\na", Refused(400)),
    ("CL empty", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: \r\n\r\na", Refused(400)),
    ("CL inner space", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1 0\r\n\r\na", Refused(400)),
    ("CL leading zero", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 010\r\n\r\n0123456789", Refused(400)),
    ("CL 00", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 00\r\n\r\n", Refused(400)),
    ("CL 19 digits", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000000000\r\n\r\n", Refused(400)),
    ("CL 18 digits", "POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999999999\r\n\r\n", Taken(&["POST /early path=/early query=None host=x Http11 Length(999999999999999999)"])),
    ("CL 0", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n", Taken(&["POST / ", "GET /2"])),
    ("GET with CL", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\nHost: x\r\n\r\n", Taken(&["GET / ", "body abc", "end", "GET /2"])),
    ("GET with chunks", "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n", Taken(&["GET / ", "body a", "end", "GET /2"])),
];

#[rustfmt::skip]
const FIELD_LINES: &[Row] = &[
    ("obs-fold", "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", Refused(400)),
    ("fold at first", "GET / HTTP/1.1\r\n Host: x\r\n\r\n", Refused(400)),
    ("fold by tab", "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\tc\r\n\r\n", Refused(400)),
    ("space before colon", "GET / HTTP/1.1\r\nHost : x\r\n\r\n", Refused(400)),
    ("tab before colon", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length\t: 1\r\n\r\na", Refused(400)),
    ("empty name", "GET / HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n", Refused(400)),
    ("no colon", "GET / HTTP/1.1\r\nHost: x\r\nabc\r\n\r\n", Refused(400)),
    ("name with a space", "GET / HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n", Refused(400)),
    ("name with brackets", "GET / HTTP/1.1\r\nHost: x\r\nA[b]: c\r\n\r\n", Refused(400)),
    ("name with UTF-8", "GET / HTTP/1.1\r\nHost: x\r\n\u{e4}: c\r\n\r\n", Refused(400)),
    ("underscore is no hyphen", "POST / HTTP/1.1\r\nHost: x\r\nContent_Length: 3\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n", Taken(&["POST / ", "GET /2"])),
    ("empty value", "GET / HTTP/1.1\r\nHost: x\r\nA:\r\nB: \t \r\n\r\n", Taken(&["GET / path=/ query=None host=x Http11 None upgrade=false Host=x A= B="])),
    ("white space around", "GET / HTTP/1.1\r\nHost: x\r\nA: \t b\tc \t\r\n\r\n", Taken(&["GET / path=/ query=None host=x Http11 None upgrade=false Host=x A=b\\tc"])),
    ("bytes from 0x80", "GET / HTTP/1.1\r\nHost: x\r\nA: \u{e4}\r\n\r\n", Taken(&["GET / path=/ query=None host=x Http11 None upgrade=false Host=x A=\\xc3\\xa4"])),
    ("bare LF", "GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", Refused(400)),
    ("bare LF at the end", "GET / HTTP/1.1\r\nHost: x\r\n\n", Refused(400)),
    ("bare LF in the request line", "GET / HTTP/1.1\nHost: x\r\n\r\n", Refused(400)),
    ("bare CR", "GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", Refused(400)),
    ("bare CR in the request line", "GET / HTTP/1.1\rHost: x\r\n\r\n", Refused(400)),
    ("CR CR LF", "GET / HTTP/1.1\r\nHost: x\r\r\n\r\n", Refused(400)),
    ("NUL in a value", "GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n", Refused(400)),
    ("NUL in a name", "GET / HTTP/1.1\r\nHost: x\r\nA\0: bc\r\n\r\n", Refused(400)),
    ("control character", "GET / HTTP/1.1\r\nHost: x\r\nA: b\x01c\r\n\r\n", Refused(400)),
    ("DEL", "GET / HTTP/1.1\r\nHost: x\r\nA: b\x7fc\r\n\r\n", Refused(400)),
];

#[rustfmt::skip]
const REQUEST_LINE: &[Row] = &[
    ("one empty line before", "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", Taken(&["GET / "])),
    ("two empty lines before", "\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("one empty line before each", "GET / HTTP/1.1\r\nHost: x\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n", Taken(&["GET / ", "GET /2"])),
    ("LF before", "\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", Refused(0)),
    ("CR before", "\rGET / HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("space before", " GET / HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("two spaces", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("two spaces before the version", "GET /  HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("tab", "GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("space behind", "GET / HTTP/1.1 \r\nHost: x\r\n\r\n", Refused(400)),
    ("no version", "GET /\r\nHost: x\r\n\r\n", Refused(400)),
    ("no target", "GET HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("empty", "GET  HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("space in the target", "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("fragment", "GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("quote", "GET /\" HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("less than", "GET /< HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("greater than", "GET /> HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("backslash", "GET /\\ HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("caret", "GET /^ HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("backtick", "GET /` HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("braces", "GET /{|} HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("UTF-8", "GET /\u{e4} HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("1.2", "GET / HTTP/1.2\r\nHost: x\r\n\r\n", Refused(505)),
    ("2.0", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refused(505)),
    ("0.9", "GET / HTTP/0.9\r\n\r\n", Refused(505)),
    ("lower case", "GET / http/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("long version", "GET / HTTP/1.10\r\nHost: x\r\n\r\n", Refused(400)),
    ("other protocol", "GET / HTTPS/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("method no token", "G@T / HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("method of 33 bytes", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("method of 32 bytes", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\nHost: x\r\n\r\n", Taken(&["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / "])),
    ("query", "GET /a?b?c=%20&d HTTP/1.1\r\nHost: x\r\n\r\n", Taken(&["GET /a?b?c=%20&d path=/a query=Some(\"b?c=%20&d\") host=x "])),
    ("no slash", "GET a HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", Taken(&["OPTIONS * path=* "])),
    ("GET *", "GET * HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("absolute", "GET http://x:80/a?b HTTP/1.1\r\nHost: x:80\r\n\r\n", Taken(&["GET http://x:80/a?b path=/a query=Some(\"b\") host=x:80 "])),
    ("absolute, any case", "GET HTTP://X/ HTTP/1.1\r\nHost: x\r\n\r\n", Taken(&["GET HTTP://X/ path=/ query=None host=x "])),
    ("absolute without a path", "GET http://x HTTP/1.1\r\nHost: x\r\n\r\n", Taken(&["GET http://x path=/ query=None host=x "])),
    ("absolute with a query only", "GET http://x?b HTTP/1.1\r\nHost: x\r\n\r\n", Taken(&["GET http://x?b path=/ query=Some(\"b\") host=x "])),
    ("absolute OPTIONS *", "OPTIONS http://x HTTP/1.1\r\nHost: x\r\n\r\n", Taken(&["OPTIONS http://x path=* "])),
    ("absolute, other host", "GET http://y/ HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("absolute, other port", "GET http://x:81/ HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("absolute with userinfo", "GET http://u@x/ HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("absolute, other scheme", "GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("absolute without Host", "GET http://x/ HTTP/1.1\r\n\r\n", Refused(400)),
    ("CONNECT", "CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n", Taken(&["CONNECT x:443 path= query=None host=x:443 "])),
    ("CONNECT without a port", "CONNECT x HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("CONNECT to a path", "CONNECT /a HTTP/1.1\r\nHost: x\r\n\r\n", Refused(400)),
    ("authority for GET", "GET x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n", Refused(400)),
];

#[rustfmt::skip]
const HOST: &[Row] = &[
    ("none in 1.1", "GET / HTTP/1.1\r\n\r\n", Refused(400)),
    ("none in 1.0", "GET / HTTP/1.0\r\n\r\n", Taken(&["GET / path=/ query=None host= Http10 "])),
    ("two", "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", Refused(400)),
    ("two in 1.0", "GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n", Refused(400)),
    ("empty", "GET / HTTP/1.1\r\nHost:\r\n\r\n", Refused(400)),
    ("at sign", "GET / HTTP/1.1\r\nHost: a@x\r\n\r\n", Refused(400)),
    ("comma", "GET / HTTP/1.1\r\nHost: x,y\r\n\r\n", Refused(400)),
    ("space", "GET / HTTP/1.1\r\nHost: x y\r\n\r\n", Refused(400)),
    ("slash", "GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", Refused(400)),
    ("port no number", "GET / HTTP/1.1\r\nHost: x:8a\r\n\r\n", Refused(400)),
    ("port too long", "GET / HTTP/1.1\r\nHost: x:123456\r\n\r\n", Refused(400)),
    ("two ports", "GET / HTTP/1.1\r\nHost: x:1:2\r\n\r\n", Refused(400)),
    ("port only", "GET / HTTP/1.1\r\nHost: :80\r\n\r\n", Refused(400)),
    ("UTF-8", "GET / HTTP/1.1\r\nHost: \u{e4}\r\n\r\n", Refused(400)),
    ("name and port", "GET / HTTP/1.1\r\nHost: www.example-1.org:8080\r\n\r\n", Taken(&["GET / path=/ query=None host=www.example-1.org:8080 "])),
    ("IPv6", "GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", Taken(&["GET / path=/ query=None host=[2001:db8::1]:80 "])),
    ("IPv6 open", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", Refused(400)),
    ("IPv6 wrong", "GET / HTTP/1.1\r\nHost: [1:2]\r\n\r\n", Refused(400)),
    ("IPv6 and more", "GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", Refused(400)),
];

/// Each follows the head of a chunked request.
#[rustfmt::skip]
const CHUNKS: &[Row] = &[
    ("two chunks", "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", Taken(&["POST", "body hello!", "end"])),
    ("hex in any case", "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", Taken(&["POST", "body 01234567890123456789", "end"])),
    ("leading zeros", "0005\r\nhello\r\n000\r\n\r\n", Taken(&["POST", "body hello", "end"])),
    ("16 digits", "0000000000000001\r\na\r\n0\r\n\r\n", Taken(&["POST", "body a", "end"])),
    ("17 digits", "00000000000000001\r\na\r\n0\r\n\r\n", Refused(400)),
    ("largest", "ffffffffffffffff\r\na", Taken(&["POST", "body a"])),
    ("sum above 64 bits", "1\r\na\r\nffffffffffffffff\r\na", Refused(413)),
    ("empty size", "\r\nhello\r\n0\r\n\r\n", Refused(400)),
    ("no digit", "x\r\n", Refused(400)),
    ("sign", "+5\r\nhello\r\n0\r\n\r\n", Refused(400)),
    ("minus", "-5\r\nhello\r\n0\r\n\r\n", Refused(400)),
    ("0x", "0x5\r\nhello\r\n0\r\n\r\n", Refused(400)),
    ("underscore", "1_0\r\nhello\r\n0\r\n\r\n", Refused(400)),
    ("space before", " 5\r\nhello\r\n0\r\n\r\n", Refused(400)),
    ("space behind", "5 \r\nhello\r\n0\r\n\r\n", Refused(400)),
    ("tab behind", "5\t;a\r\nhello\r\n0\r\n\r\n", Refused(400)),
    ("LF behind the size", "5\nhello\r\n0\r\n\r\n", Refused(400)),
    ("CR behind the size", "5\rhello\r\n0\r\n\r\n", Refused(400)),
    ("LF behind the data", "5\r\nhello\n0\r\n\r\n", Refused(400)),
    ("nothing behind the data", "5\r\nhello0\r\n\r\n", Refused(400)),
    ("data too long", "5\r\nhello!\r\n0\r\n\r\n", Refused(400)),
    ("CR LF swapped", "5\r\nhello\n\r0\r\n\r\n", Refused(400)),
    ("extension", "5;a\r\nhello\r\n0;b=c;d=\"e\\\"; f\"\r\n\r\n", Taken(&["POST", "body hello", "end"])),
    ("extension with spaces", "5;a = b ; c\r\nhello\r\n0\r\n\r\n", Taken(&["POST", "body hello", "end"])),
    ("extension, bare LF", "5;a\nb\r\nhello\r\n0\r\n\r\n", Refused(400)),
    ("extension, bare CR", "5;a\rb\r\nhello\r\n0\r\n\r\n", Refused(400)),
    ("extension, NUL", "5;a=\"\0\"\r\nhello\r\n0\r\n\r\n", Refused(400)),
    ("extension, quoted LF", "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n", Refused(400)),
    ("extension, quoted CR LF", "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n", Refused(400)),
    ("extension, empty", "5;\r\nhello\r\n0\r\n\r\n", Refused(400)),
    ("extension, no value", "5;a=\r\nhello\r\n0\r\n\r\n", Refused(400)),
    ("extension, open quote", "5;a=\"b\r\nhello\r\n0\r\n\r\n", Refused(400)),
    ("extension, no token", "5;a@b\r\nhello\r\n0\r\n\r\n", Refused(400)),
    ("trailers", "0\r\nA: b\r\nC: d\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n", Taken(&["POST", "trailers A=b C=d", "end", "GET /2"])),
    ("trailer folded", "0\r\nA: b\r\n c\r\n\r\n", Refused(400)),
    ("trailer bare LF", "0\r\nA: b\n\r\n", Refused(400)),
    ("trailer bare CR", "0\r\nA: b\rc\r\n\r\n", Refused(400)),
    ("trailer NUL", "0\r\nA: \0\r\n\r\n", Refused(400)),
    ("trailer no token", "0\r\nA : b\r\n\r\n", Refused(400)),
    ("trailer Content-Length", "0\r\nContent-Length: 5\r\n\r\n", Refused(400)),
    ("trailer Transfer-Encoding", "0\r\ntransfer-encoding: chunked\r\n\r\n", Refused(400)),
    ("trailer Host", "0\r\nHost: y\r\n\r\n", Refused(400)),
    ("trailer Authorization", "0\r\nAuthorization: y\r\n\r\n", Refused(400)),
    ("trailer Content-Type", "0\r\nContent-Type: y\r\n\r\n", Refused(400)),
];

#[rustfmt::skip]
const CONNECTION: &[Row] = &[
    ("1.1 goes on", "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n", Taken(&["GET / ", "GET /2"])),
    ("close", "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n", Taken(&["GET / "])),
    ("close in a list, any case", "GET / HTTP/1.1\r\nHost: x\r\nConnection: a, CLOSE\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n", Taken(&["GET / "])),
    ("close in a second line", "GET / HTTP/1.1\r\nHost: x\r\nConnection: a\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n", Taken(&["GET / "])),
    ("1.0 ends", "GET / HTTP/1.0\r\nHost: x\r\n\r\nGET /2 HTTP/1.0\r\nHost: x\r\n\r\n", Taken(&["GET / "])),
    ("1.0 ends, whatever it asks", "GET / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\nGET /2 HTTP/1.0\r\n\r\n", Taken(&["GET / "])),
    ("answered before the body", "POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n", Taken(&["POST /early"])),
    ("answered beside the body", "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\nHost: x\r\n\r\n", Taken(&["POST /echo", "body abc", "end", "GET /2"])),
    ("answered with trailers", "POST /trailers HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\nHost: x\r\n\r\n", Taken(&["POST /trailers", "body abc", "end", "GET /2"])),
    ("answered too short", "GET /short HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n", Taken(&["GET /short"])),
    ("100-continue", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: 100-Continue\r\n\r\na", Taken(&["POST / ", "body a", "end"])),
    ("100-continue in 1.0", "POST / HTTP/1.0\r\nHost: x\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\na", Taken(&["POST / ", "body a", "end"])),
    ("other expectation", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: 200-ok\r\n\r\na", Refused(417)),
    ("two expectations", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n\r\na", Refused(417)),
    ("upgrade", "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\nrest", Taken(&["GET / path=/ query=None host=x Http11 None upgrade=true"])),
    ("upgrade of a POST", "POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", Taken(&["POST / path=/ query=None host=x Http11 None upgrade=false"])),
    ("upgrade of 1.0", "GET / HTTP/1.0\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", Taken(&["GET / path=/ query=None host=x Http10 None upgrade=false"])),
    ("upgrade with a body", "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\na", Taken(&["GET / path=/ query=None host=x Http11 Length(1) upgrade=false", "body a", "end"])),
    ("upgrade with CL 0", "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n", Taken(&["GET / path=/ query=None host=x Http11 None upgrade=true"])),
    ("upgrade without Connection", "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n", Taken(&["GET / path=/ query=None host=x Http11 None upgrade=false"])),
    ("upgrade to h2c", "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n", Taken(&["GET / path=/ query=None host=x Http11 None upgrade=false"])),
    ("TLS", "\x16\x03\x01\x02\0\x01\0\x01\x7c\x03\x03", Refused(0)),
    ("garbage", "\0\0\0\0", Refused(0)),
    ("garbage behind a request", "GET / HTTP/1.1\r\nHost: x\r\n\r\n\x16\x03\x01", Refused(0)),
];

fn run(bytes: &[u8], limits: &Limits) -> Trace {
    assert_same_for_any_cut(bytes, 7, |pieces| serve(limits, pieces, false));
    serve(limits, &[bytes], false)
}

/// The statuses of the responses in `sent`.
fn statuses(sent: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(sent);
    let lines = text.split("HTTP/1.1 ").skip(1);
    lines.map(|line| line[..3].parse().unwrap()).collect()
}

fn check(rows: &[Row], prefix: &str) {
    for (name, bytes, outcome) in rows {
        let bytes = [prefix, bytes].concat();
        let trace = run(bytes.as_bytes(), &Limits::default());
        match outcome {
            Refused(status) => {
                let wire = if *status == 0 { Wire::None } else { Wire::H1(*status) };
                assert_eq!(trace.error.map(|e| e.wire()), Some(wire), "{name}: {trace:?}");
                assert!(trace.closes, "{name}");
                assert!(*status == 0 || statuses(&trace.sent).last() == Some(status), "{name}");
            }
            Taken(events) => {
                assert_eq!(trace.error, None, "{name}");
                assert_eq!(trace.events.len(), events.len(), "{name}: {trace:?}");
                for (event, expected) in trace.events.iter().zip(*events) {
                    assert!(event.starts_with(expected), "{name}: {event} is not {expected}");
                }
            }
        }
    }
}

/// RFC 9112, section 6.
#[test]
fn a_message_has_one_framing_or_is_refused() {
    check(FRAMING, "");
}

/// RFC 9112, section 5.
#[test]
fn field_lines_are_taken_literally_or_refused() {
    check(FIELD_LINES, "");
}

/// RFC 9112, section 3.
#[test]
fn request_lines_have_one_space_and_a_target_in_one_of_four_forms() {
    check(REQUEST_LINE, "");
}

/// RFC 9110, section 7.2.
#[test]
fn there_is_one_host_and_it_is_one() {
    check(HOST, "");
}

/// RFC 9112, section 7.1.
#[test]
fn chunks_are_read_strictly() {
    check(CHUNKS, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
}

/// RFC 9112, section 9; RFC 9110, sections 7.8 and 10.1.1.
#[test]
fn connections_go_on_only_where_both_ends_agree() {
    check(CONNECTION, "");
}

/// Sizes: 414 for the request line, 431 for fields and heads, 400 for chunk extensions.
#[test]
fn what_is_too_large_is_refused_at_the_byte_that_is_too_much() {
    let mut limits = Limits::default();
    (limits.h1.line, limits.h1.field, limits.h1.head, limits.h1.fields) = (40, 30, 100, 3);
    (limits.h1.chunk_extensions, limits.h1.trailers, limits.h1.trailer_fields) = (8, 30, 2);
    let chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let get = "GET / HTTP/1.1\r\nHost: x\r\n";
    let rows: &[(String, Option<u16>)] = &[
        (std::format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(26)), None),
        (std::format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(27)), Some(414)),
        ("G".repeat(41), Some(414)),
        ("G".repeat(40), None),
        (std::format!("{get}A: {}\r\n\r\n", "b".repeat(27)), None),
        (std::format!("{get}A: {}\r\n\r\n", "b".repeat(28)), Some(431)),
        (std::format!("{get}A: {}", "b".repeat(28)), Some(431)),
        (std::format!("{get}A: {0}\r\nA: {0}\r\nA: {0}\r\n", "b".repeat(27)), Some(431)),
        (std::format!("{get}A: {0}\r\nA: {0}\r\n\r\n", "b".repeat(27)), None),
        (std::format!("{get}A: b\r\nA: b\r\n\r\n"), None),
        (std::format!("{get}A: b\r\nA: b\r\nA: b\r\n\r\n"), Some(431)),
        (std::format!("{get}A: b\r\nA: b\r\nA: b\r\n"), Some(431)),
        (std::format!("{chunked}0\r\nA: b\r\nA: b\r\nA: b\r\n"), Some(431)),
        (std::format!("{chunked}1;abcdefg\r\na\r\n0\r\n\r\n"), None),
        (std::format!("{chunked}1;abcdefgh\r\na\r\n0\r\n\r\n"), Some(400)),
        (std::format!("{chunked}1;abcd\r\na\r\n0\r\nA: b\r\nA: b\r\n\r\n"), None),
        (std::format!("{chunked}1;abc\r\na\r\n0;abcd\r\n\r\n"), Some(400)),
        (std::format!("{chunked}0\r\nA: b\r\nA: b\r\n\r\n"), None),
        (std::format!("{chunked}0\r\nA: b\r\nA: b\r\nA: b\r\n\r\n"), Some(431)),
        (std::format!("{chunked}0\r\nA: {}\r\n\r\n", "b".repeat(25)), None),
        (std::format!("{chunked}0\r\nA: {}\r\n\r\n", "b".repeat(26)), Some(431)),
    ];
    for (bytes, status) in rows {
        let trace = run(bytes.as_bytes(), &limits);
        assert_eq!(trace.error.map(|e| e.wire()), status.map(Wire::H1), "{bytes}");
    }
}

/// RFC 9112, section 9.3: the last request of a connection is told so.
#[test]
fn a_connection_carries_as_many_requests_as_the_limit_says() {
    let mut limits = Limits::default();
    limits.h1.requests = 2;
    let trace = run("GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3).as_bytes(), &limits);

    let text = String::from_utf8(trace.sent).unwrap();
    assert_eq!(trace.events.len(), 2);
    assert_eq!(text.matches("Connection: close").count(), 1);
    assert!(trace.closes);
}

/// RFC 9112, section 8.
#[test]
fn an_end_of_input_within_a_message_is_an_error_and_between_messages_is_none() {
    let get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n";
    let rows = [
        ("", None),
        (get, None),
        ("\r\n", None),
        ("G", Some(400)),
        (&get[..get.len() - 1], Some(400)),
        (post, Some(400)),
        (&std::format!("{post}a"), Some(400)),
        (&std::format!("{post}ab"), None),
        (&std::format!("{get}GET"), Some(400)),
    ];
    for (bytes, status) in rows {
        let limits = Limits::default();
        assert_same_for_any_cut(bytes.as_bytes(), 3, |pieces| serve(&limits, pieces, true));
        let trace = serve(&limits, &[bytes.as_bytes()], true);
        assert_eq!(trace.error.map(|e| e.wire()), status.map(Wire::H1), "{bytes}");
        assert!(trace.closes, "{bytes}");
    }
}

/// What each request, `\r\n\r\n` included, may answer with.
#[rustfmt::skip]
const RESPONSES: &[(&str, &str, &str, &[&str])] = &[
    ("length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabX", &["200 OK Http11 Content-Length=2", "body ab", "end"]),
    ("length 0", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nX", &["200", "end"]),
    ("chunks", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nA: b\r\n\r\nX", &["200", "body ab", "trailers A=b", "end"]),
    ("until close", "GET", "HTTP/1.1 200 OK\r\n\r\nabX", &["200", "body abX", "end"]),
    ("other coding", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nab", &["200", "body 2\\r\\nab", "end"]),
    ("HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nX", &["200", "end"]),
    ("204", "GET", "HTTP/1.1 204 No Content\r\n\r\nX", &["204 No Content", "end"]),
    ("304", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nX", &["304", "end"]),
    ("interim", "GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", &["100", "103 Early Http11 A=b", "200", "end"]),
    ("switched", "GET", "HTTP/1.1 101 Switching Protocols\r\n\r\nX", &["101"]),
    ("tunnel", "CONNECT", "HTTP/1.1 200 OK\r\n\r\nX", &["200"]),
    ("refused tunnel", "CONNECT", "HTTP/1.1 403 No\r\nContent-Length: 1\r\n\r\nX", &["403", "body X", "end"]),
    ("no reason", "GET", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", &["200  Http11", "end"]),
    ("no reason, no space", "GET", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", &["200  Http11", "end"]),
    ("reason of bytes", "GET", "HTTP/1.0 999 \u{e4} b\r\nContent-Length: 0\r\n\r\n", &["999 \\xc3\\xa4 b Http10", "end"]),
];

/// RFC 9112, section 6.3.
#[test]
fn responses_are_delimited_as_their_request_and_their_fields_say() {
    for (name, method, bytes, events) in RESPONSES {
        let limits = Limits::default();
        assert_same_for_any_cut(bytes.as_bytes(), 3, |p| read(&limits, method, p, true));
        let trace = read(&limits, method, &[bytes.as_bytes()], true);
        assert_eq!((trace.error, trace.events.len()), (None, events.len()), "{name}: {trace:?}");
        for (event, expected) in trace.events.iter().zip(*events) {
            assert!(event.starts_with(expected), "{name}: {event} is not {expected}");
        }
    }
}

/// RFC 9112, sections 4, 6.3 and 8.
#[test]
fn responses_that_could_be_read_in_two_ways_are_errors() {
    let bad = [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b",
        "",
    ];
    for bytes in bad {
        let limits = Limits::default();
        assert_same_for_any_cut(bytes.as_bytes(), 3, |p| read(&limits, "GET", p, true));
        let trace = read(&limits, "GET", &[bytes.as_bytes()], true);
        assert!(trace.error.is_some(), "{}: {trace:?}", bytes);
        assert!(trace.closes);
    }
}
