//! Which prepared coding a request accepts: RFC 9110, section 12.5.3.

/// A coding that a file may lie beside another in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Coding {
    Brotli,
    Gzip,
}

impl Coding {
    /// Gives its name in Content-Encoding.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// Gives what its file's name ends in.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Gzip => ".gz",
        }
    }
}

/// What a request's Accept-Encoding fields say, in thousandths: 0 is "no".
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Accepted {
    brotli: Option<u16>,
    gzip: Option<u16>,
    any: u16,
    plain: Option<u16>,
}

impl Accepted {
    /// Adds one field's list. What is malformed is left out.
    pub(super) fn add(&mut self, field: &[u8]) {
        let Ok(text) = core::str::from_utf8(field) else { return };
        for item in text.split(',') {
            let (name, rest) = item.split_once(';').unwrap_or((item, ""));
            let Some(weight) = weight(rest) else { continue };
            match name.trim() {
                name if name.eq_ignore_ascii_case("br") => self.brotli = Some(weight),
                name if name.eq_ignore_ascii_case("gzip") => self.gzip = Some(weight),
                name if name.eq_ignore_ascii_case("x-gzip") => self.gzip = Some(weight),
                name if name.eq_ignore_ascii_case("identity") => self.plain = Some(weight),
                "*" => self.any = weight,
                _ => {}
            }
        }
    }

    /// Tells whether a coding is accepted, and not less than none.
    pub(super) fn takes(self, coding: Coding) -> bool {
        let weight = self.weight(coding);
        weight > 0 && weight >= self.plain.unwrap_or(0)
    }

    /// Gives the codings in the order to be tried: the one wished for more, else the smaller one.
    pub(super) fn order(self) -> [Coding; 2] {
        if self.weight(Coding::Gzip) > self.weight(Coding::Brotli) {
            return [Coding::Gzip, Coding::Brotli];
        }
        [Coding::Brotli, Coding::Gzip]
    }

    fn weight(self, coding: Coding) -> u16 {
        let named = match coding {
            Coding::Brotli => self.brotli,
            Coding::Gzip => self.gzip,
        };
        named.unwrap_or(self.any)
    }
}

/// Reads `q=0.5` in thousandths; empty is 1. `None` if it is malformed.
fn weight(parameter: &str) -> Option<u16> {
    let parameter = parameter.trim();
    if parameter.is_empty() {
        return Some(1000);
    }
    let value = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="))?;
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    let digits = part.bytes().all(|b| b.is_ascii_digit()) && part.len() <= 3;
    let part: u16 = std::format!("{part:0<3}").parse().ok().filter(|_| digits)?;
    match whole {
        "0" => Some(part),
        "1" if part == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(fields: &[&str]) -> Option<Coding> {
        let mut accepted = Accepted::default();
        fields.iter().for_each(|field| accepted.add(field.as_bytes()));
        accepted.order().into_iter().find(|coding| accepted.takes(*coding))
    }

    #[test]
    fn the_coding_wished_for_most_is_the_first() {
        use Coding::{Brotli, Gzip};
        let rows: [(&[&str], _); 14] = [
            (&[], None),
            (&["gzip, deflate, br, zstd"], Some(Brotli)),
            (&["gzip"], Some(Gzip)),
            (&["GZIP;q=1.0"], Some(Gzip)),
            (&["br;q=0.5, gzip"], Some(Gzip)),
            (&["gzip;q=0, br;q=0"], None),
            (&["*"], Some(Brotli)),
            (&["*;q=0.1, br;q=0"], Some(Gzip)),
            (&["identity"], None),
            (&["identity, gzip;q=0.5"], None),
            (&["identity;q=0.5, gzip"], Some(Gzip)),
            (&["deflate", "gzip"], Some(Gzip)),
            (&["gzip;q=2, br;x=1, gzip;q=0.1234"], None),
            (&["", ",,;q", "br;q=0.001"], Some(Brotli)),
        ];
        for (fields, coding) in rows {
            assert_eq!(first(fields), coding, "{fields:?}");
        }
    }
}
