//! Header fields: which of a request's are the guest's to say, and how much of a response's may come.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{HttpError, field_bytes_max};
use crate::Meter;

/// What a guest does not say, beside everything that begins with [`PROXY`].
const NOT_THE_GUESTS: [&str; 23] = [
    // Whom the request is for stands in its URL; the client writes it down.
    "host",
    // What is between the host and its next neighbour. Bodies are framed by the client, no trailers
    // are asked for or sent, and nobody waits to be told to go on.
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "expect",
    // By these some servers take one request for another: a permit for `GET` is for `GET`, and one for
    // a host and a path is for these.
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-method",
    "x-original-url",
    "x-original-uri",
    "x-original-host",
    "x-rewrite-url",
    "x-forwarded-host",
    "x-forwarded-path",
    "x-forwarded-prefix",
    "x-forwarded-uri",
    "x-host",
    "forwarded",
];

/// Nobody is a proxy here, and nobody is asked to be one.
const PROXY: &str = "proxy-";

/// What HTTP/2 counts for a field beside its letters; so one number bounds how long fields are and
/// how many.
const FIELD: u64 = 32;

/// Takes out of a request's fields what is not the guest's to say.
pub(super) fn clean(headers: &mut HeaderMap) {
    for name in NOT_THE_GUESTS {
        headers.remove(name);
    }
    let proxy: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(PROXY)).cloned().collect();
    for name in proxy {
        headers.remove(name);
    }
    // How long a compressed answer is says something of what is in it, and a part of one is no part of
    // the answer. What is compressed all the same is decoded.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

/// How long the body of a request is to be, if its head says so: in digits, and once.
pub(super) fn length(headers: &HeaderMap) -> Result<Option<u64>, HttpError> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match (digits.and_then(|digits| digits.parse().ok()), values.next()) {
        (Some(length), None) => Ok(Some(length)),
        _ => Err(HttpError::Length),
    }
}

/// What fields take on the wire, to within the version's spelling.
pub(super) fn bytes(headers: &HeaderMap) -> u64 {
    headers.iter().map(|(name, value)| (name.as_str().len() + value.len() + 4) as u64).sum()
}

/// Counts the fields or trailers of a response, and refuses more than the call may have of them.
pub(super) fn received(headers: &HeaderMap, meter: &Meter) -> Result<(), HttpError> {
    let bytes = bytes(headers);
    meter.receive(bytes)?;
    let taken = bytes.saturating_add(FIELD.saturating_mul(headers.len() as u64));
    if taken > field_bytes_max(meter.limits()) { Err(HttpError::Fields) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use ringfence_event::CallLimits;

    use super::*;

    fn fields(fields: &[(&str, &str)]) -> HeaderMap {
        let fields = fields.iter().map(|(name, value)| {
            (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap())
        });
        fields.collect()
    }

    #[test]
    fn n8_what_is_not_the_guests_is_taken_out() {
        for name in NOT_THE_GUESTS {
            assert_eq!(name, name.to_ascii_lowercase());
            let mut headers = fields(&[(name, "x"), ("x-own", "y")]);
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("z"));
            clean(&mut headers);
            assert_eq!(headers, fields(&[("x-own", "y"), ("accept-encoding", "identity")]));
        }
        let mut headers = fields(&[
            ("accept-encoding", "gzip, br"),
            ("proxy-connection", "x"),
            ("proxy-authorization", "x"),
            ("Proxy-Whatever", "x"),
            ("x-proxy-is-a-word", "y"),
        ]);
        clean(&mut headers);
        let left = [("x-proxy-is-a-word", "y"), ("accept-encoding", "identity")];
        assert_eq!(headers, fields(&left));
    }

    #[test]
    fn n8_a_length_is_said_once_and_in_digits() {
        let check = |values: &[&str]| {
            let values: Vec<_> = values.iter().map(|value| ("content-length", *value)).collect();
            length(&fields(&values)).ok()
        };
        assert_eq!(check(&[]), Some(None));
        assert_eq!(check(&["0"]), Some(Some(0)));
        assert_eq!(check(&["18446744073709551615"]), Some(Some(u64::MAX)));
        for wrong in ["", "+5", "-5", " 5", "5, 5", "5, 6", "0x5", "5.0", "18446744073709551616"] {
            assert_eq!(check(&[wrong]), None, "{wrong}");
        }
        assert_eq!(check(&["5", "5"]), None);
    }

    #[test]
    fn h7_fields_are_bounded_by_their_length_and_by_their_number() {
        let limits = CallLimits { lift: 1_000, ..CallLimits::DEFAULT };
        let check = |headers: &HeaderMap| received(headers, &Meter::new(limits));
        let long = |length| fields(&[("x", &"y".repeat(length))]);
        assert!(check(&long(1_000 - 32 - 5)).is_ok());
        assert!(matches!(check(&long(1_000 - 32 - 4)), Err(HttpError::Fields)));
        let many = |count: usize| -> HeaderMap {
            let name = |n| HeaderName::try_from(format!("x{n:02}")).unwrap();
            (0..count).map(|n| (name(n), HeaderValue::from_static("y"))).collect()
        };
        assert!(check(&many(25)).is_ok());
        assert!(matches!(check(&many(26)), Err(HttpError::Fields)));
        // Whatever a tool's limit is, no more than this.
        let wide = Meter::new(CallLimits { lift: u64::MAX, ..CallLimits::DEFAULT });
        assert!(matches!(received(&long(64 << 10), &wide), Err(HttpError::Fields)));
    }
}
