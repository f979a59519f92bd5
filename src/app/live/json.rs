//! Writes JSON (RFC 8259) into a string that is kept and used again.

use core::fmt::Write;
use std::string::String;

/// Appends values to a string and puts the commas. The order of calls is the caller's to get
/// right: a `key` before each value of an object.
#[derive(Debug)]
pub(super) struct Json<'a> {
    out: &'a mut String,
    /// The next value or key stands behind another one.
    follows: bool,
}

impl<'a> Json<'a> {
    /// Begins a text; what `out` held is gone.
    pub(super) fn new(out: &'a mut String) -> Self {
        out.clear();
        Self { out, follows: false }
    }

    /// Writes an object whose members `f` writes.
    pub(super) fn object(&mut self, f: impl FnOnce(&mut Self)) {
        self.group('{', '}', f);
    }

    /// Writes an array whose values `f` writes.
    pub(super) fn array(&mut self, f: impl FnOnce(&mut Self)) {
        self.group('[', ']', f);
    }

    /// Writes the name of the member whose value comes next.
    pub(super) fn key(&mut self, name: &str) -> &mut Self {
        self.text(name);
        self.out.push(':');
        self.follows = false;
        self
    }

    /// Writes a number.
    pub(super) fn number(&mut self, n: u64) {
        self.comma();
        // Writing into a `String` does not fail.
        let _ = write!(self.out, "{n}");
    }

    /// Writes a string; RFC 8259, section 7 names what is escaped.
    pub(super) fn text(&mut self, text: &str) {
        self.comma();
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                // As in `number`.
                '\0'..='\x1f' => _ = write!(self.out, "\\u{:04x}", u32::from(c)),
                _ => self.out.push(c),
            }
        }
        self.out.push('"');
    }

    fn group(&mut self, open: char, close: char, f: impl FnOnce(&mut Self)) {
        self.comma();
        self.out.push(open);
        self.follows = false;
        f(self);
        self.out.push(close);
        self.follows = true;
    }

    fn comma(&mut self) {
        if core::mem::replace(&mut self.follows, true) {
            self.out.push(',');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(f: impl FnOnce(&mut Json<'_>)) -> String {
        let mut out = String::from("of last time");
        f(&mut Json::new(&mut out));
        out
    }

    #[test]
    fn members_and_values_are_divided_by_commas() {
        let text = written(|j| {
            j.object(|j| {
                j.key("a").number(1);
                j.key("b").array(|j| {
                    j.number(0);
                    j.number(u64::MAX);
                    j.object(|_| {});
                    j.object(|j| j.key("c").text("d"));
                });
                j.key("e").array(|_| {});
                j.key("f").text("");
            });
        });

        let expected = r#"{"a":1,"b":[0,18446744073709551615,{},{"c":"d"}],"e":[],"f":""}"#;
        assert_eq!(text, expected);
    }

    /// RFC 8259, section 7: quotation mark, reverse solidus, and U+0000 to U+001F.
    #[test]
    fn what_must_be_escaped_is() {
        let all: String = (0..0x20).map(char::from).collect();

        let text = written(|j| j.text(&all));

        let escaped: String = (0..0x20).map(|c| std::format!("\\u{c:04x}")).collect();
        assert_eq!(text, std::format!("\"{escaped}\""));
        assert_eq!(written(|j| j.text(r#"a"b\c"#)), r#""a\"b\\c""#);
        assert_eq!(written(|j| j.text("</script>\u{7f}ü€😀")), "\"</script>\u{7f}ü€😀\"");
        assert_eq!(written(|j| j.object(|j| j.key("\"").number(1))), r#"{"\"":1}"#);
    }
}
