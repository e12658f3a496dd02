//! The settings of the sinks that deliver without a broker, as data: the part of the table in [`super::keys`] that is theirs.

use super::keys::{DURATION, Key, SIZE, duration, hidden, named, put, secret};
use super::value::{Rejected, quoted, quoted_bytes, quoted_duration, url};
use super::{HttpConfig, NdjsonConfig, RouteBy};

type Http = Key<HttpConfig>;
type Ndjson = Key<NdjsonConfig>;

/// What can be written for the `kind` of a sink.
pub(super) const KINDS: &str = "http, amqp, nats or ndjson";

/// The settings of a sink of kind `http`.
pub(super) static HTTP_KEYS: &[Http] = &[
    Http::new(
        "kind",
        "How events are delivered. `http`: POST `{\"payload\":{op,t,s,d},\"shardId\":n}`.",
        KINDS,
        |_, raw| raw.choice(&[("http", ())]),
        |_| Some(quoted("http")),
    ),
    Http::new(
        "name",
        "Its name, on consoles and in metrics.",
        "up to 64 letters, digits, dots, dashes and underscores",
        |sink, raw| put(&mut sink.name, raw.name()),
        |sink| Some(quoted(&sink.name)),
    ),
    Http::new(
        "urls",
        "Where events go; a guild always goes to the same one. The variable makes or changes the sink named `http`; so does `EVENT_LISTENER_URL`, if it is not set.",
        "http or https URLs, with commas between them or as a list",
        |sink, raw| {
            let urls: Result<Vec<String>, Rejected> = raw.list().iter().map(|text| url(text)).collect();
            sink.urls = urls?;
            if sink.urls.is_empty() { Err(Rejected::default()) } else { Ok(()) }
        },
        |sink| {
            let urls: Vec<String> = sink.urls.iter().map(|text| quoted(&without_query(text))).collect();
            (!urls.is_empty()).then(|| format!("[{}]", urls.join(", ")))
        },
    )
    .env("EVENT_HANDLER_URLS")
    .otherwise("none, it must be set", "[\"http://127.0.0.1:8080/events\"]"),
    Http::new(
        "authorization",
        "The `authorization` header of each delivery.",
        "a text of printable ASCII characters",
        |sink, raw| put(&mut sink.authorization, secret(raw)),
        |sink| hidden(sink.authorization.as_ref()),
    )
    .otherwise("the agent's `authorization`", "\"…\"")
    .secret(),
    Http::new(
        "route_by",
        "What chooses the URL of an event: its guild (by shard where it has none), or its shard.",
        "guild or shard",
        |sink, raw| put(&mut sink.route_by, raw.choice(&ROUTES)),
        |sink| named(&ROUTES, sink.route_by),
    ),
    Http::new(
        "concurrency",
        "Requests in flight for each URL and worker.",
        "a whole number from 1 to 4096",
        |sink, raw| put(&mut sink.concurrency, raw.whole(1..=4096)),
        |sink| Some(sink.concurrency.to_string()),
    ),
    Http::new(
        "batch",
        "Events of one request. 1: each alone, as in the guide. More: `application/x-ndjson`, a line `{\"payload\":…,\"shardId\":n,\"id\":…,\"received\":ms}` for each event.",
        "a whole number from 1 to 1000",
        |sink, raw| put(&mut sink.batch, raw.whole(1..=1_000)),
        |sink| Some(sink.batch.to_string()),
    ),
    Http::new(
        "timeout",
        "Longest wait for an answer; then the event is sent again.",
        DURATION,
        |sink, raw| put(&mut sink.timeout, duration(raw)),
        |sink| Some(quoted_duration(sink.timeout)),
    ),
];

/// The settings of an `ndjson` sink.
pub(super) static NDJSON_KEYS: &[Ndjson] = &[
    Ndjson::new(
        "kind",
        "`ndjson`: a line `{\"payload\":…,\"shardId\":n,\"id\":…,\"received\":ms}` for each event, to a file or a pipe.",
        KINDS,
        |_, _| Ok(()),
        |_| Some(quoted("ndjson")),
    ),
    Ndjson::new(
        "name",
        "Its name, on consoles and in metrics.",
        "up to 64 letters, digits, dots, dashes and underscores",
        |sink, raw| put(&mut sink.name, raw.name()),
        |sink| Some(quoted(&sink.name)),
    ),
    Ndjson::new(
        "path",
        "The file. All workers write whole lines to it.",
        "a path",
        |sink, raw| {
            sink.path = Some(raw.text()?.into());
            Ok(())
        },
        |sink| sink.path.as_ref().map(|path| quoted(&path.to_string_lossy())),
    )
    .otherwise("standard output", "\"events.ndjson\""),
    Ndjson::new(
        "max_size",
        "A file that would grow beyond this becomes `FILE.1`, that one `FILE.2`, and so on.",
        SIZE,
        |sink, raw| put(&mut sink.max_bytes, raw.bytes()),
        |sink| Some(quoted_bytes(sink.max_bytes)),
    ),
    Ndjson::new(
        "keep",
        "Files put aside; the oldest goes.",
        "a whole number from 1 to 1000",
        |sink, raw| put(&mut sink.keep, raw.whole(1..=1_000)),
        |sink| Some(sink.keep.to_string()),
    ),
];

/// A URL as it is shown: keys are passed in the query.
fn without_query(url: &str) -> String {
    url.split_once('?').map_or_else(|| url.to_owned(), |(before, _)| format!("{before}?[secret]"))
}

const ROUTES: [(&str, RouteBy); 2] = [("guild", RouteBy::Guild), ("shard", RouteBy::Shard)];
