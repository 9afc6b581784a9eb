//! How long a server asks to wait.

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap,
    header::{DATE, RETRY_AFTER},
};

/// What some vendors say beside `Retry-After`, more exactly.
const RETRY_AFTER_MS: &str = "retry-after-ms";

/// The wait in milliseconds, if one is asked for.
pub(super) fn read(fields: &HeaderMap) -> Option<u64> {
    let field = |name: &str| fields.get(name)?.to_str().ok().map(str::trim);
    let exact = field(RETRY_AFTER_MS).and_then(|wait| number(wait, 1.0));
    exact.or_else(|| {
        let wait = field(RETRY_AFTER.as_str())?;
        number(wait, 1000.0).or_else(|| {
            let until = httpdate::parse_http_date(wait).ok()?;
            // By the server's own clock, so that a wrong one here makes no difference.
            let now = field(DATE.as_str()).and_then(|date| httpdate::parse_http_date(date).ok());
            let wait = until.duration_since(now.unwrap_or_else(SystemTime::now));
            let wait = wait.unwrap_or(Duration::ZERO);
            Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
        })
    })
}

/// A number with or without decimals. `as` stops at the ends of what fits.
fn number(text: &str, scale: f64) -> Option<u64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = text.parse().ok().filter(|_| is_number)?;
    Some((number * scale).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_wait_is_read() {
        let check = |fields: &[(&'static str, &str)], wait: Option<u64>| {
            let pairs = fields
                .iter()
                .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
            assert_eq!(read(&pairs.collect()), wait, "{fields:?}");
        };
        let date = ("date", "Wed, 25 Nov 2026 10:00:00 GMT");
        check(&[], None);
        check(&[("retry-after", "2")], Some(2_000));
        check(&[("retry-after", "0.25")], Some(250));
        check(&[("retry-after", "0")], Some(0));
        check(&[("retry-after", "99999999999999999999999999")], Some(u64::MAX));
        check(&[date, ("retry-after", "Wed, 25 Nov 2026 10:01:30 GMT")], Some(90_000));
        check(&[date, ("retry-after", "Wed, 25 Nov 2026 09:00:00 GMT")], Some(0));
        check(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")], Some(0));
        check(&[("retry-after", "2"), ("retry-after-ms", "1500")], Some(1_500));
        for nonsense in ["soon", "-1", "1e9", "inf", "NaN", ""] {
            check(&[("retry-after", nonsense)], None);
        }
        check(&[("retry-after", "3"), ("retry-after-ms", "soon")], Some(3_000));
    }
}
