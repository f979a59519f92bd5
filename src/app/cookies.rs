//! Cookies of requests and responses: RFC 6265.

use crate::Error;
use crate::proto::h1::{Cookie, cookies};
use crate::runtime::handler::http::{Request, Response};

/// For cookies.
impl<'a> Request<'a> {
    /// Gives the names and values of all cookies, in the order of arrival. Quotes belong to a
    /// value; fields that are no UTF-8 are left out.
    pub fn cookies(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let fields = self.fields().iter().filter(|(name, _)| name.eq_ignore_ascii_case("cookie"));
        fields.filter_map(|(_, value)| core::str::from_utf8(value).ok()).flat_map(cookies)
    }

    /// Gives the value of the first cookie of this name, which is compared with case. Browsers
    /// send the one with the longest path first.
    pub fn cookie(&self, name: &str) -> Option<&'a str> {
        self.cookies().find(|(n, _)| *n == name).map(|(_, value)| value)
    }
}

/// For cookies.
impl Response<'_> {
    /// Sets a cookie. One that may not be is left out and makes the answer a 500: see
    /// [`try_cookie`](Self::try_cookie) for values that come from outside.
    #[must_use]
    pub fn cookie(mut self, cookie: &Cookie<'_>) -> Self {
        if self.try_cookie(cookie).is_err() { self.status(500) } else { self }
    }

    /// Sets a cookie.
    ///
    /// # Errors
    ///
    /// As [`Cookie::put`]. Nothing is added.
    pub fn try_cookie(&mut self, cookie: &Cookie<'_>) -> Result<(), Error> {
        let h = self.runtime();
        let mut value = h.lend();
        let put = cookie.put(&mut value).and_then(|()| {
            // It was checked: all of it is ASCII.
            self.try_header("set-cookie", core::str::from_utf8(&value).unwrap_or_default())
        });
        h.give_back(value);
        put
    }
}
