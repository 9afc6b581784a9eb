//! Everything that a guest can call has its price, and where it hands over or gets bytes they have
//! theirs: the contract is read, and each of its functions is called.

use std::collections::BTreeSet;

use ringfence_capability::cost;
use ringfence_event::{Effect, Limit, Outcome, Usage};
use ringfence_tests::{ENGINE, Scene};
use serde_json::json;

use crate::raw::{self, Import};

/// Functions that do not come back: they end the call.
const NEVER_BACK: &[&str] = &["wasi:cli/exit#exit", "wasi:cli/exit#exit-with-code"];

async fn called(import: &Import, times: u64) -> (Outcome, Usage) {
    let scene = Scene::of(raw::tool(&ENGINE, &import.text(), &import.body()), Effect::Unsafe);
    let ended = scene.run("act", json!({ "n": times })).await;
    (ended.outcome, ended.usage)
}

/// H5: each function of every interface that is linked costs at least the price of a host call. One
/// that wants a handle does nothing for who has none.
#[tokio::test]
async fn h5_no_function_of_the_contract_is_free() {
    let (mut free_standing, mut of_handles) = (0, 0);
    for import in raw::imports() {
        let name = import.name();
        let (outcome, few) = called(&import, 1).await;
        if import.wants_handle {
            assert!(matches!(outcome, Outcome::Trapped { .. }), "{name}: {outcome:?}");
            of_handles += 1;
            continue;
        }
        if NEVER_BACK.contains(&name.as_str()) {
            assert!(few.host_calls == 1 && few.host_work >= cost::HOST_CALL, "{name}: {few:?}");
            continue;
        }
        assert!(matches!(outcome, Outcome::Succeeded { .. }), "{name}: {outcome:?}");
        let (_, many) = called(&import, 11).await;
        assert!(many.host_calls - few.host_calls >= 10, "{name}: {many:?}");
        let charged = many.host_work - few.host_work;
        assert!(charged >= 10 * cost::HOST_CALL, "{name}: {charged} for ten");
        free_standing += 1;
    }
    assert!(free_standing > 25 && of_handles > 100, "{free_standing} and {of_handles}");
}

/// How the bytes that a function carries are paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bytes {
    /// Each has its price, whoever hands it over.
    Priced,
    /// Some dozens or none at all: the price of the call covers them.
    Few,
    /// As many as header fields may take, and each call pays for what is usual of that.
    Fields,
}

use Bytes::{Few, Fields, Priced};

/// Every function of the contract that is handed a text or a list, or hands one over.
const CARRIERS: &[(&str, Bytes)] = &[
    ("ringfence:tool/context#answer", Few),
    ("ringfence:tool/context#call-id", Few),
    ("ringfence:tool/context#emit", Priced),
    ("ringfence:tool/context#idempotency-key", Few),
    ("ringfence:tool/context#log", Priced),
    ("ringfence:tool/context#progress", Priced),
    ("wasi:cli/environment#get-arguments", Few),
    ("wasi:cli/environment#get-environment", Few),
    ("wasi:cli/environment#initial-cwd", Few),
    ("wasi:config/store#get", Priced),
    ("wasi:config/store#get-all", Priced),
    ("wasi:filesystem/preopens#get-directories", Few),
    ("wasi:filesystem/types#[method]descriptor.create-directory-at", Priced),
    ("wasi:filesystem/types#[method]descriptor.link-at", Priced),
    ("wasi:filesystem/types#[method]descriptor.metadata-hash-at", Priced),
    ("wasi:filesystem/types#[method]descriptor.open-at", Priced),
    ("wasi:filesystem/types#[method]descriptor.read", Priced),
    ("wasi:filesystem/types#[method]descriptor.readlink-at", Priced),
    ("wasi:filesystem/types#[method]descriptor.remove-directory-at", Priced),
    ("wasi:filesystem/types#[method]descriptor.rename-at", Priced),
    ("wasi:filesystem/types#[method]descriptor.set-times-at", Priced),
    ("wasi:filesystem/types#[method]descriptor.stat-at", Priced),
    ("wasi:filesystem/types#[method]descriptor.symlink-at", Priced),
    ("wasi:filesystem/types#[method]descriptor.unlink-file-at", Priced),
    ("wasi:filesystem/types#[method]descriptor.write", Priced),
    // A name of at most 255 bytes, in the price of an entry.
    ("wasi:filesystem/types#[method]directory-entry-stream.read-directory-entry", Few),
    ("wasi:http/outgoing-handler#handle", Priced),
    ("wasi:http/types#[method]fields.append", Fields),
    ("wasi:http/types#[method]fields.delete", Fields),
    ("wasi:http/types#[method]fields.entries", Fields),
    ("wasi:http/types#[method]fields.get", Fields),
    ("wasi:http/types#[method]fields.has", Fields),
    ("wasi:http/types#[method]fields.set", Fields),
    ("wasi:http/types#[method]future-incoming-response.get", Fields),
    ("wasi:http/types#[method]future-trailers.get", Fields),
    ("wasi:http/types#[method]incoming-request.authority", Fields),
    ("wasi:http/types#[method]incoming-request.method", Fields),
    ("wasi:http/types#[method]incoming-request.path-with-query", Fields),
    ("wasi:http/types#[method]incoming-request.scheme", Fields),
    ("wasi:http/types#[method]outgoing-request.authority", Fields),
    ("wasi:http/types#[method]outgoing-request.method", Fields),
    ("wasi:http/types#[method]outgoing-request.path-with-query", Fields),
    ("wasi:http/types#[method]outgoing-request.scheme", Fields),
    ("wasi:http/types#[method]outgoing-request.set-authority", Fields),
    ("wasi:http/types#[method]outgoing-request.set-method", Fields),
    ("wasi:http/types#[method]outgoing-request.set-path-with-query", Fields),
    ("wasi:http/types#[method]outgoing-request.set-scheme", Fields),
    ("wasi:http/types#[static]fields.from-list", Fields),
    ("wasi:http/types#[static]outgoing-body.finish", Fields),
    ("wasi:http/types#[static]response-outparam.set", Fields),
    ("wasi:http/types#http-error-code", Fields),
    ("wasi:io/error#[method]error.to-debug-string", Few),
    // As many as there are handles, at most.
    ("wasi:io/poll#poll", Few),
    ("wasi:io/streams#[method]input-stream.blocking-read", Priced),
    ("wasi:io/streams#[method]input-stream.read", Priced),
    ("wasi:io/streams#[method]output-stream.blocking-write-and-flush", Priced),
    ("wasi:io/streams#[method]output-stream.write", Priced),
    ("wasi:keyvalue/atomics#increment", Priced),
    ("wasi:keyvalue/batch#delete-many", Priced),
    ("wasi:keyvalue/batch#get-many", Priced),
    ("wasi:keyvalue/batch#set-many", Priced),
    ("wasi:keyvalue/store#[method]bucket.delete", Priced),
    ("wasi:keyvalue/store#[method]bucket.exists", Priced),
    ("wasi:keyvalue/store#[method]bucket.get", Priced),
    ("wasi:keyvalue/store#[method]bucket.list-keys", Priced),
    ("wasi:keyvalue/store#[method]bucket.set", Priced),
    ("wasi:keyvalue/store#open", Priced),
    ("wasi:random/insecure#get-insecure-random-bytes", Priced),
    ("wasi:random/random#get-random-bytes", Priced),
    ("wasi:sockets/ip-name-lookup#resolve-addresses", Priced),
    ("wasi:sockets/udp#[method]incoming-datagram-stream.receive", Priced),
    ("wasi:sockets/udp#[method]outgoing-datagram-stream.send", Priced),
];

/// H5: whoever adds a function that carries bytes has to say what they cost.
#[test]
fn h5_every_function_that_carries_bytes_is_known() {
    let carries: BTreeSet<String> =
        raw::imports().filter(|import| import.carries_bytes).map(|import| import.name()).collect();
    let known: BTreeSet<String> = CARRIERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(carries, known);
}

/// H5: ten thousand bytes more cost what they cost, or all that they may be is paid for each time.
#[tokio::test]
async fn h5_bytes_that_are_handed_over_are_paid_for() {
    const MORE: u64 = 10_000;
    for import in raw::imports().filter(|import| import.carries_bytes && !import.wants_handle) {
        let name = import.name();
        let (_, of) = CARRIERS.iter().find(|(known, _)| *known == name).unwrap();
        let work = async |bytes: u64| {
            let body = import.body_with(bytes)?;
            let scene = Scene::of(raw::tool(&ENGINE, &import.text(), &body), Effect::Unsafe);
            Some(scene.run("act", json!({ "n": 1 })).await.usage.host_work)
        };
        let (Some(few), Some(many)) = (work(1).await, work(1 + MORE).await) else { continue };
        match of {
            Priced => assert!(many - few >= MORE * cost::BYTE, "{name}: {few}, {many}"),
            Fields => assert!(few >= cost::HTTP_CALL, "{name}: {few}"),
            Few => panic!("{name} is handed bytes"),
        }
    }
}

/// H5: asking again and again ends at the tool's own fuel, and a refusal is not cheaper.
#[tokio::test]
async fn h5_asking_for_configuration_has_its_price() {
    for (key, effect) in [("base-url", Effect::Read), ("other", Effect::Read), ("x", Effect::Pure)]
    {
        let scene = Scene::new(effect).needs("[needs.config]\nkeys = [\"base-url\"]").grants(
            "config.base-url = \"https://x\"\nlimits.fuel = \"20M\"\nlimits.time = \"20s\"",
        );
        let ended = scene.run("shut", json!({ "what": "config-forever", "name": key })).await;
        assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Fuel }, "{key}");
        assert!(ended.usage.host_calls < 20_000_000 / 30_000 + 20, "{:?}", ended.usage);
    }
}
