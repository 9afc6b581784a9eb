use std::{collections::VecDeque, io::Write, task::Waker};

use flate2::{
    Compression, GzBuilder,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use http::HeaderValue;
use proptest::prelude::*;
use ringfence_event::{CallLimits, Limit};

use super::{super::body::tests::Frames, *};
use crate::meter::LimitReached;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bare(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A member whose head has everything that a head can have.
fn named(bytes: &[u8]) -> Vec<u8> {
    let head = GzBuilder::new().filename("a name").comment("and a comment").extra(vec![0; 300]);
    let mut encoder = head.write(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    let mut member = encoder.finish().unwrap();
    // The head's own checksum, which the encoder does not write.
    member[3] |= 1 << 1;
    let end = 10 + 2 + 300 + "a name.and a comment.".len();
    member.splice(end..end, [7, 7]);
    member
}

fn meter(fuel: u64) -> Arc<Meter> {
    Arc::new(Meter::new(CallLimits { fuel, ..CallLimits::DEFAULT }))
}

/// A response whose body comes in pieces of so many bytes.
fn response(codings: &[&str], bytes: &[u8], piece: usize) -> Response<Body> {
    let pieces = bytes.chunks(piece).map(|piece| Frame::data(Bytes::copy_from_slice(piece)));
    let body = Frames(pieces.collect()).boxed_unsync();
    let mut response = Response::new(body);
    for coding in codings {
        response.headers_mut().append(header::CONTENT_ENCODING, coding.parse().unwrap());
    }
    response.headers_mut().insert(header::CONTENT_LENGTH, bytes.len().into());
    response
}

/// Reads a response to its end, in frames that are none too large.
fn read(response: Response<Body>, meter: &Arc<Meter>) -> Result<Vec<u8>, HttpError> {
    let mut body = decoded(response, meter)?.into_body();
    let (mut read, mut context) = (Vec::new(), Context::from_waker(Waker::noop()));
    while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut context) {
        let data = frame?.into_data().expect("data");
        assert!(!data.is_empty() && data.len() <= PIECE);
        read.extend_from_slice(&data);
    }
    assert!(body.is_end_stream());
    Ok(read)
}

#[test]
fn n11_what_comes_compressed_is_read_plain_however_it_is_cut() {
    let text: Vec<u8> = (0..30_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
    let (first, second) = text.split_at(1_000);
    for (codings, bytes) in [
        (&["gzip"][..], gzip(&text)),
        (&["X-GZIP"], gzip(&text)),
        (&["identity, gzip"], named(&text)),
        (&["gzip"], [gzip(first), gzip(b""), named(second)].concat()),
        (&["deflate"], zlib(&text)),
        (&["Deflate"], bare(&text)),
        (&["deflate, gzip"], gzip(&zlib(&text))),
        (&["gzip", "deflate"], bare(&gzip(&text))),
        (&["gzip", "", "gzip"], gzip(&gzip(&text))),
    ] {
        for piece in [1, 7, 4_096, usize::MAX] {
            let meter = meter(u64::MAX);
            let read = read(response(codings, &bytes, piece), &meter).unwrap();
            assert!(read == text, "{codings:?} {piece}");
            assert!(meter.usage(None).bytes_read >= text.len() as u64);
        }
    }
    // Nothing was done to these, and nothing is undone.
    for codings in [&[][..], &["identity"], &["identity, Identity"]] {
        let response = decoded(response(codings, b"plain", 2), &meter(0)).unwrap();
        assert_eq!(response.headers()[header::CONTENT_LENGTH], "5");
    }
}

/// A server that says a word and waits for the answer is heard, though its stream is not at its end.
#[test]
fn what_has_come_is_read_before_more_comes() {
    let text: Vec<u8> = (0..50_000_u32).map(|n| (n % 251) as u8).collect();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&text).unwrap();
    encoder.flush().unwrap();
    let coded = encoder.get_ref().clone();
    let mut input = Bytes::from(coded);
    let (mut inflater, mut piece, mut read) = (Inflater::new(Coding::Gzip), [0; 1_000], Vec::new());
    loop {
        match inflater.step(&mut input, &mut piece).unwrap() {
            Step::Member => {}
            Step::Bytes(count) => read.extend_from_slice(&piece[..count]),
            Step::More => break,
        }
    }
    assert!(read == text && !inflater.is_complete());
}

#[test]
fn n11_what_cannot_be_decoded_is_an_error() {
    let good = gzip(b"hello");
    let changed = |at: usize| {
        let mut wrong = good.clone();
        let length = wrong.len();
        wrong[(at + length) % length] ^= 1;
        wrong
    };
    let longer = |more: &[u8]| [&good, more].concat();
    let wrong_sum = |mut coded: Vec<u8>| {
        *coded.last_mut().unwrap() ^= 1;
        coded
    };
    for (codings, bytes) in [
        (&["br"][..], good.clone()),
        (&["zstd"], good.clone()),
        (&["compress"], good.clone()),
        (&["gzip, br"], good.clone()),
        (&["br", "gzip"], good.clone()),
        (&["gzip;q=1"], good.clone()),
        (&["gzip, gzip, gzip"], gzip(&gzip(&good))),
        (&["gzip", "deflate", "gzip"], good.clone()),
        (&["gzip"], b"hello".to_vec()),
        (&["gzip"], good[..1].to_vec()),
        (&["gzip"], good[..10].to_vec()),
        (&["gzip"], good[..good.len() - 1].to_vec()),
        (&["gzip"], changed(0)),
        (&["gzip"], changed(1)),
        (&["gzip"], changed(2)),
        (&["gzip"], changed(good.len() - 1)),
        (&["gzip"], changed(good.len() - 5)),
        (&["gzip"], longer(b"more")),
        (&["gzip"], longer(&good[..12])),
        (&["gzip"], zlib(b"hello")),
        (&["deflate"], good.clone()),
        (&["deflate"], zlib(b"hello")[..8].to_vec()),
        (&["deflate"], wrong_sum(zlib(b"hello"))),
        (&["deflate"], [zlib(b"hello"), zlib(b"hello")].concat()),
        (&["deflate"], bare(b"hello")[..4].to_vec()),
        (&["gzip, gzip"], good.clone()),
    ] {
        for piece in [1, usize::MAX] {
            let read = read(response(codings, &bytes, piece), &meter(u64::MAX));
            assert!(matches!(read, Err(HttpError::Encoded)), "{codings:?} {bytes:?} {read:?}");
        }
    }
    let mut unread = response(&["gzip"], &good, 4);
    unread
        .headers_mut()
        .insert(header::CONTENT_ENCODING, HeaderValue::from_bytes(b"\xff").unwrap());
    assert!(matches!(decoded(unread, &meter(0)), Err(HttpError::Encoded)));
    let mut part = response(&["gzip"], &good, 4);
    *part.status_mut() = StatusCode::PARTIAL_CONTENT;
    assert!(matches!(decoded(part, &meter(0)), Err(HttpError::Encoded)));
    let mut part = response(&["identity"], b"hel", 4);
    *part.status_mut() = StatusCode::PARTIAL_CONTENT;
    assert!(decoded(part, &meter(0)).is_ok());
    for (way, goes) in
        [("chunked", true), ("Chunked", true), ("gzip, chunked", false), ("gzip", false)]
    {
        let mut response = response(&[], b"hello", 4);
        response.headers_mut().insert(header::TRANSFER_ENCODING, way.parse().unwrap());
        assert_eq!(decoded(response, &meter(0)).is_ok(), goes, "{way}");
    }
}

/// An answer to `HEAD`, one that says that nothing changed, an empty one.
#[test]
fn an_answer_without_a_body_says_what_it_would_say_with_one() {
    for (coding, left) in [("gzip", None), ("identity", Some("0")), ("br", Some("0"))] {
        for status in [200, 204, 206, 304] {
            let mut response = response(&[coding], b"", 1);
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            let decoded = decoded(response, &meter(0));
            if (coding, status) == ("gzip", 206) {
                assert!(decoded.is_err());
                continue;
            }
            let headers = decoded.unwrap().into_parts().0.headers;
            let said = headers.get(header::CONTENT_LENGTH).map(|value| value.to_str().unwrap());
            assert_eq!(said, left, "{coding} {status}");
            assert_eq!(headers.contains_key(header::CONTENT_ENCODING), left.is_some());
        }
    }
    // Chunks, and none but the last.
    let mut empty = response(&["gzip"], b"", 1);
    *empty.body_mut() = Frames(VecDeque::from([Frame::data(Bytes::new())])).boxed_unsync();
    assert_eq!(read(empty, &meter(u64::MAX)).unwrap(), b"");
}

#[test]
fn trailers_come_after_what_was_decoded() {
    let trailers = || Frame::trailers(HeaderMap::new());
    let frames = |end: usize| {
        let coded = gzip(b"hello");
        let coded = Frame::data(Bytes::copy_from_slice(&coded[..coded.len() - end]));
        let mut response = response(&["gzip"], b"", 1);
        *response.body_mut() = Frames(VecDeque::from([coded, trailers()])).boxed_unsync();
        let mut body = decoded(response, &meter(u64::MAX)).unwrap().into_body();
        let mut context = Context::from_waker(Waker::noop());
        std::iter::from_fn(move || match Pin::new(&mut body).poll_frame(&mut context) {
            Poll::Ready(frame) => frame.map(|frame| frame.map(|frame| frame.is_trailers())),
            Poll::Pending => None,
        })
        .collect::<Vec<_>>()
    };
    assert!(matches!(frames(0)[..], [Ok(false), Ok(true)]));
    assert!(matches!(frames(1)[..], [Ok(false), Err(HttpError::Encoded)]));
}

/// N11: what a bomb comes to is paid for piece by piece, whatever it is wrapped in.
#[test]
fn n11_a_bomb_ends_at_the_calls_own_limit() {
    let zeros = vec![0; 64 << 20];
    let once = gzip(&zeros);
    assert!(once.len() * 900 < zeros.len(), "{}", once.len());
    let fuel = 50_000_000;
    for (codings, bytes) in [
        (&["gzip"][..], once.clone()),
        (&["deflate"], zlib(&zeros)),
        (&["gzip, gzip"], gzip(&once)),
        // Members without end that hold nothing, and blocks that hold nothing but tables.
        (&["gzip"], gzip(b"").repeat(5_000)),
        (&["deflate"], tables(40_000)),
    ] {
        let meter = meter(fuel);
        let read = read(response(codings, &bytes, 4_096), &meter);
        let limit = LimitReached(Limit::Fuel);
        assert!(matches!(&read, Err(HttpError::Limit(found)) if *found == limit), "{codings:?}");
        assert!(meter.usage(None).bytes_read <= fuel / cost::DECODED_BYTE, "{codings:?}");
    }
}

/// Blocks of nothing, as the encoder ends one when it is told to flush.
fn tables(blocks: usize) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    for _ in 0..blocks {
        encoder.write_all(b"a").unwrap();
        encoder.flush().unwrap();
    }
    encoder.finish().unwrap()
}

proptest! {
    /// Whatever comes is decoded or refused, and never more than was paid for.
    #[test]
    fn n11_any_bytes_are_decoded_or_refused(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        start in 0..4_usize,
        piece in 1..50_usize,
    ) {
        let (coding, head) =
            [("gzip", gzip(b"x")), ("gzip", vec![]), ("deflate", vec![0x78, 0x9c]), ("deflate", vec![])]
                [start]
                .clone();
        bytes.splice(0..0, head);
        let read = read(response(&[coding], &bytes, piece), &meter(10_000_000));
        prop_assert!(matches!(read, Ok(_) | Err(HttpError::Encoded | HttpError::Limit(_))));
    }
}
