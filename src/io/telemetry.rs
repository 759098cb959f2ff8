//! The log: one JSON object per line on stdout, with MetalLB's keys `ts`, `level` and `msg`.
//!
//! Fields of an event are members of the same object. Other crates speak up only from `warn` on, but for level `all`:
//! they log every retry, we log a state once.

use super::settings::LogLevel;
use serde_json::{Map, Value};
use std::{fmt, io};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    Layer,
    filter::Targets,
    fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter, format::Writer},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

/// Logs from now on. A second call changes nothing.
pub fn init(level: LogLevel) {
    // The error says that somebody else logs already, which is all that matters.
    let _ = tracing_subscriber::registry().with(layer(level, io::stdout)).try_init();
}

fn layer<S, W>(level: LogLevel, writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (ours, theirs) = match level {
        LogLevel::All => (LevelFilter::TRACE, LevelFilter::TRACE),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::WARN),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::WARN),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::WARN),
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        LogLevel::None => (LevelFilter::OFF, LevelFilter::OFF),
    };
    // The client complains at every try; io::k8s says it once, and what to do.
    let client = if level == LogLevel::All { theirs } else { LevelFilter::OFF };
    let filter = Targets::new()
        .with_default(theirs)
        .with_target("kube_client", client)
        .with_target("kube_runtime", client)
        .with_target("ferrolb", ours)
        .with_target("controller", ours)
        .with_target("speaker", ours);
    tracing_subscriber::fmt::layer().event_format(Line).with_writer(writer).with_filter(filter)
}

/// One event as one line.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        #[expect(clippy::disallowed_methods, reason = "the log's clock")]
        let now = jiff::Timestamp::now();
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG | Level::TRACE => "debug",
        };
        let msg = fields.0.remove("message").unwrap_or_else(|| Value::String(String::new()));
        write!(to, r#"{{"ts":"{now:.3}","level":"{level}","msg":{msg}"#)?;
        for (key, value) in fields.0 {
            write!(to, ",{}:{value}", Value::String(key))?;
        }
        writeln!(to, "}}")
    }
}

struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `log` logs in this thread.
    pub(crate) fn lines(level: LogLevel, log: impl FnOnce()) -> Vec<Value> {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = tracing_subscriber::registry().with(layer(level, move || writer.clone()));
        tracing::subscriber::with_default(subscriber, log);
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_is_one_object_with_our_keys() {
        let lines = lines(LogLevel::Info, || {
            tracing::info!(service = %"a/b", count = 3, ok = true, "allocated \"10.0.0.1\"\nline");
            tracing::debug!("not this");
            tracing::info!(target: "hyper", "nor this");
            tracing::warn!(target: "hyper", "but this");
        });
        let [first, second] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!(first["msg"], "allocated \"10.0.0.1\"\nline");
        assert_eq!((&first["level"], &first["service"]), (&"info".into(), &"a/b".into()));
        assert_eq!((&first["count"], &first["ok"]), (&3.into(), &true.into()));
        assert!(first["ts"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
        assert_eq!(second["msg"], "but this");
    }

    #[test]
    fn levels() {
        for (level, expected) in [
            (LogLevel::All, 3),
            (LogLevel::Debug, 3),
            (LogLevel::Info, 2),
            (LogLevel::Warn, 2),
            (LogLevel::Error, 1),
            (LogLevel::None, 0),
        ] {
            let lines = lines(level, || {
                tracing::error!("e");
                tracing::warn!("w");
                tracing::debug!("d");
            });
            assert_eq!(lines.len(), expected, "{level:?}");
        }
    }
}
