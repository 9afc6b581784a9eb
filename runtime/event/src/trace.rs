//! W3C trace context: which request of somebody else's something follows from, and by which names the
//! spans of it are known. The names follow from the journal, so that whoever makes spans of it, however
//! often, makes the same ones.

use std::{fmt, num::NonZeroU64, str::FromStr};

use crate::{Digest, RunId, Stream};

/// What `traceparent` says, as it is kept in an event: the trace id alone where the host made it, with the
/// caller's span and flags where a caller gave them. Printed as `TRACE` and `TRACE-SPAN-FLAGS`.
///
/// ```
/// use ringfence_event::TraceContext;
///
/// let given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let context = TraceContext::from_traceparent(given)?;
/// assert_eq!(context.to_string(), "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
/// assert_eq!(context.to_string().parse::<TraceContext>()?, context);
/// # Ok::<(), ringfence_event::InvalidTrace>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// The trace id, which is not 0.
    trace: u128,
    parent: Option<(SpanId, u8)>,
}

/// A span's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(NonZeroU64);

/// A text that is no trace context.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{given}` is no traceparent: it is 00, a trace id of 32, a span id of 16 and flags of 2 lower-case \
     hexadecimal digits, with `-` between them, and no id is 0"
)]
pub struct InvalidTrace {
    /// What was given, cut to 80 characters.
    pub given: String,
}

/// The flag of a trace that is to be kept.
const SAMPLED: u8 = 1;

impl TraceContext {
    /// A trace that begins here, by 128 random bits. All zero stands for no trace, and becomes another.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self { trace: u128::from_be_bytes(bytes).max(1), parent: None }
    }

    /// Reads the header `traceparent` of version 00, and of later versions what they have in common with it.
    ///
    /// # Errors
    /// It is none.
    pub fn from_traceparent(given: &str) -> Result<Self, InvalidTrace> {
        let read = || {
            let (version, rest) = given.split_once('-')?;
            let version = hex(version, 2)?;
            // Versions to come may say more at the end; this one does not, and the last is none.
            let known = match (version, rest.get(..52)) {
                (0xff, _) | (_, None) => return None,
                (0, _) if rest.len() != 52 => return None,
                (_, Some(known)) if rest.len() == 52 || rest[52..].starts_with('-') => known,
                _ => return None,
            };
            let context: Self = known.parse().ok()?;
            context.parent.is_some().then_some(context)
        };
        read().ok_or_else(|| invalid(given))
    }

    /// The trace id.
    #[must_use]
    pub fn trace(&self) -> u128 {
        self.trace
    }

    /// The span of whoever asked.
    #[must_use]
    pub fn parent(&self) -> Option<SpanId> {
        self.parent.map(|(span, _)| span)
    }

    /// Whether it is to be kept: yes, unless whoever asked says that they do not keep theirs.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.parent.is_none_or(|(_, flags)| flags & SAMPLED != 0)
    }

    /// The header `traceparent` of a request that is made within a span of this trace.
    #[must_use]
    pub fn traceparent(&self, span: SpanId) -> String {
        format!("00-{:032x}-{span}-{:02x}", self.trace, u8::from(self.is_sampled()))
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.trace)?;
        match self.parent {
            Some((span, flags)) => write!(f, "-{span}-{flags:02x}"),
            None => Ok(()),
        }
    }
}

impl FromStr for TraceContext {
    type Err = InvalidTrace;

    fn from_str(given: &str) -> Result<Self, InvalidTrace> {
        let read = || {
            let mut parts = given.split('-');
            let trace = hex(parts.next()?, 32).filter(|trace| *trace != 0)?;
            let parent = match parts.next() {
                None => None,
                Some(span) => {
                    let span = u64::try_from(hex(span, 16)?).ok().and_then(NonZeroU64::new)?;
                    let flags = u8::try_from(hex(parts.next()?, 2)?).ok()?;
                    Some((SpanId(span), flags))
                }
            };
            parts.next().is_none().then_some(Self { trace, parent })
        };
        read().ok_or_else(|| invalid(given))
    }
}

fn invalid(given: &str) -> InvalidTrace {
    InvalidTrace { given: given.chars().take(80).collect() }
}

/// So many digits, in lower case and nothing else.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let valid = text.len() == digits && text.bytes().all(is_digit);
    valid.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

impl SpanId {
    /// The span of a run.
    #[must_use]
    pub fn of_run(stream: &Stream, run: RunId) -> Self {
        Self::of(&format!("{stream}\n{run}"))
    }

    /// The span that the event at this place of a stream begins: a request to a model, a try of a call.
    #[must_use]
    pub fn of_event(stream: &Stream, seq: u64) -> Self {
        Self::of(&format!("{stream}\n{seq}"))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0.get()
    }

    fn of(text: &str) -> Self {
        let mut short = [0; 8];
        short.copy_from_slice(&Digest::of(text.as_bytes()).as_bytes()[..8]);
        Self(NonZeroU64::new(u64::from_be_bytes(short)).unwrap_or(NonZeroU64::MIN))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_the_specification_says() {
        const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
        let check = |given: String, sampled: Option<bool>| {
            let read = TraceContext::from_traceparent(&given).ok();
            assert_eq!(read.map(|context| context.is_sampled()), sampled, "{given}");
        };
        check(format!("00-{TRACE}-b7ad6b7169203331-01"), Some(true));
        check(format!("00-{TRACE}-b7ad6b7169203331-00"), Some(false));
        check(format!("00-{TRACE}-b7ad6b7169203331-03"), Some(true));
        check(format!("cc-{TRACE}-b7ad6b7169203331-01-what-comes"), Some(true));
        check(format!("cc-{TRACE}-b7ad6b7169203331-01"), Some(true));
        check(format!("cc-{TRACE}-b7ad6b7169203331-01x"), None);
        check(format!("00-{TRACE}-b7ad6b7169203331-01-more"), None);
        check(format!("ff-{TRACE}-b7ad6b7169203331-01"), None);
        check(format!("00-{}-b7ad6b7169203331-01", TRACE.to_uppercase()), None);
        check(format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)), None);
        check(format!("00-{TRACE}-{}-01", "0".repeat(16)), None);
        check(format!("00-{TRACE}-b7ad6b7169203331"), None);
        check(format!("00-{TRACE}"), None);
        check(format!("00-{TRACE}-b7ad6b716920333é-01"), None);
        check(TRACE.to_owned(), None);
        check(String::new(), None);
    }

    #[test]
    fn what_is_made_within_a_trace_names_it() {
        let stream: Stream = "tenant/local".parse().unwrap();
        let span = SpanId::of_event(&stream, 7);
        assert_ne!(span, SpanId::of_event(&stream, 8));
        assert_ne!(SpanId::of_run(&stream, RunId(7)), span);
        let own = TraceContext::from_random([9; 16]);
        assert_eq!(own.to_string().parse(), Ok(own));
        let header = own.traceparent(span);
        let outer = TraceContext::from_traceparent(&header).unwrap();
        assert_eq!((outer.trace(), outer.parent()), (own.trace(), Some(span)));
        assert!(outer.is_sampled());
        let unsampled = header.replace("-01", "-00");
        let unsampled = TraceContext::from_traceparent(&unsampled).unwrap();
        assert!(unsampled.traceparent(span).ends_with("-00"));
    }
}
