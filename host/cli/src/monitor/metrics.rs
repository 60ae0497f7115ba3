//! The metrics: the view as the text format of Prometheus.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, LabelSetEncoder, NoLabelSet, prometheus_text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use socketserver::access::Refusal;
use socketserver::{DropReason, Reason};

use super::view::{HandlerView, View};
use crate::report::certificates::Certificate;
use crate::report::counters::{Counted, Histogram, Totals};

/// The type of the answer.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// Returns the metrics of a server.
pub fn text(view: View) -> String {
    let mut registry = Registry::with_prefix("socketserver");
    registry.register_collector(Box::new(Metrics(view)));
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = prometheus_text::encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct Metrics(View);

/// The labels of one sample.
#[derive(Debug, Clone, Copy)]
struct Labels<'a, const N: usize>([(&'static str, &'a str); N]);

impl<const N: usize> EncodeLabelSet for Labels<'_, N> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.0.encode(encoder)
    }
}

/// A counter or a gauge of each handler: its name, its help and its value.
type Row<T> = (&'static str, &'static str, fn(&HandlerView) -> T);

const COUNTERS: [Row<u64>; 8] = [
    ("requests_accepted", "Requests that passed the rules of who is served", |it| {
        it.totals.accepted
    }),
    ("received_bytes", "Bytes that requests received which have ended", |it| it.totals.received),
    ("sent_bytes", "Bytes that requests sent which have ended", |it| it.totals.sent),
    ("instances", "Instances that requests used", |it| it.totals.instances),
    ("forked_processes", "Processes that were forked, for requests or as workers", |it| {
        it.totals.forked
    }),
    ("accept_errors", "Failed attempts to take a request from a listening socket", |it| {
        it.totals.accept_errors
    }),
    ("logs_cut", "Requests whose log was cut", |it| it.totals.logs_cut),
    ("restarts", "Processes that were started because another had died", |it| it.restarts),
];

const GAUGES: [Row<u64>; 6] = [
    ("requests_in_flight", "Requests that run now", |it| it.totals.in_flight),
    ("requests_capacity", "Requests that can run at once", |it| it.capacity),
    ("connections_waiting", "Connections that wait in the loop and are no requests yet", |it| {
        it.totals.waiting
    }),
    ("workers", "Workers that run now", |it| it.totals.workers),
    ("generation", "The number of the process that serves, as up counts them", |it| {
        it.generation.unwrap_or(0)
    }),
    ("serving", "1 if the handler serves", |it| u64::from(it.state == "serving")),
];

/// A counter for each variant of an enum: its name, its help, its label and its numbers.
type Enumerated =
    (&'static str, &'static str, &'static str, fn(&Totals) -> Vec<(&'static str, u64)>);

const ENUMERATED: [Enumerated; 2] = [
    ("refused", "Clients that were refused", "rule", |totals| {
        Refusal::counted(&totals.refused).map(|(rule, count)| (rule.as_str(), count)).collect()
    }),
    (
        "datagrams_dropped",
        "Datagrams that were dropped before they were requests",
        "reason",
        |it| DropReason::counted(&it.dropped).map(|(why, count)| (why.as_str(), count)).collect(),
    ),
];

/// A histogram of each handler: its name, its help, its unit, and what one unit is.
type Measured = (&'static str, &'static str, f64, fn(&Totals) -> &Histogram);

const HISTOGRAMS: [Measured; 3] = [
    ("request_duration_seconds", "The time from the beginning to the end of requests", 1e6, |it| {
        &it.usage.duration
    }),
    ("request_cpu_seconds", "The CPU time of requests", 1e6, |it| &it.usage.cpu_time),
    ("request_memory_bytes", "The most memory of each instance", 1.0, |it| &it.usage.memory),
];

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let View { version, ready, handlers, supervisor, .. } = &self.0;
        let mut info = encoder.encode_descriptor(
            "build",
            "The version of the program",
            None,
            MetricType::Info,
        )?;
        info.encode_info(&Labels([("version", version)]))?;
        one(&mut encoder, "ready", "1 if each handler serves", u64::from(*ready))?;
        if let Some(up) = supervisor {
            let help = "Times that the configuration was read again";
            counter(&mut encoder, "reloads", help, up.reloads)?;
            let help = "Times after which not all was as the configuration says";
            counter(&mut encoder, "reloads_failed", help, up.failed_reloads)?;
            let succeeded = u64::from(up.last_reload_succeeded);
            one(
                &mut encoder,
                "config_last_reload_successful",
                "1 unless the last failed",
                succeeded,
            )?;
            let (name, help) = (
                "config_last_reload_success_timestamp_seconds",
                "The time of the last configuration that was taken over",
            );
            one(&mut encoder, name, help, up.last_reload)?;
            one(&mut encoder, "processes_ending", "Processes that finish", up.ending as u64)?;
        }
        requests(&mut encoder, handlers)?;
        for (name, help, value) in COUNTERS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for handler in handlers {
                let labels = Labels([("handler", &*handler.name)]);
                let value = value(handler);
                family
                    .encode_family(&labels)?
                    .encode_counter::<NoLabelSet, _, f64>(&value, None)?;
            }
        }
        for (name, help, value) in GAUGES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for handler in handlers {
                let labels = Labels([("handler", &*handler.name)]);
                family.encode_family(&labels)?.encode_gauge(&value(handler))?;
            }
        }
        certificates(&mut encoder, handlers)?;
        for (name, help, label, numbers) in ENUMERATED {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for handler in handlers {
                for (variant, count) in numbers(&handler.totals) {
                    let labels = Labels([("handler", &*handler.name), (label, variant)]);
                    let mut sample = family.encode_family(&labels)?;
                    sample.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
                }
            }
        }
        HISTOGRAMS.iter().try_for_each(|row| histogram(&mut encoder, handlers, row))
    }
}

fn requests(encoder: &mut DescriptorEncoder<'_>, handlers: &[HandlerView]) -> fmt::Result {
    let help = "Requests that have ended, by the party to blame and the reason";
    let mut family = encoder.encode_descriptor("requests", help, None, MetricType::Counter)?;
    for HandlerView { name, totals, .. } in handlers {
        let failed = Reason::counted(&totals.failed);
        let failed = failed.map(|(why, count)| (why.blame().as_str(), why.as_str(), count));
        for (blame, reason, count) in std::iter::once(("none", "ok", totals.done)).chain(failed) {
            let labels = Labels([("handler", &**name), ("blame", blame), ("reason", reason)]);
            let mut sample = family.encode_family(&labels)?;
            sample.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
        }
    }
    Ok(())
}

fn certificates(encoder: &mut DescriptorEncoder<'_>, handlers: &[HandlerView]) -> fmt::Result {
    let name = "tls_certificate_not_after_timestamp_seconds";
    let help = "The last second in which a certificate of the server is valid";
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for HandlerView { name, certificates, .. } in handlers {
        for Certificate { file, not_after } in certificates {
            let labels = Labels([("handler", &**name), ("certificate", file)]);
            family.encode_family(&labels)?.encode_gauge(not_after)?;
        }
    }
    Ok(())
}

fn one(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let mut counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    counter.encode_counter::<NoLabelSet, _, f64>(&value, None)
}

#[allow(clippy::cast_precision_loss, reason = "Prometheus has floating-point numbers only")]
fn histogram(
    encoder: &mut DescriptorEncoder<'_>,
    handlers: &[HandlerView],
    (name, help, unit, histogram): &Measured,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for HandlerView { name, totals, .. } in handlers {
        let Histogram { bounds, counts, sum } = histogram(totals);
        let bounds = bounds.iter().map(|bound| *bound as f64 / unit).chain([f64::INFINITY]);
        // Native code that escaped from a sandbox can write any number: the sum must not overflow.
        let counts = counts.iter().map(|count| *count.min(&(u64::MAX >> 8)));
        let buckets: Vec<_> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let labels = Labels([("handler", &**name)]);
        let mut sample = family.encode_family(&labels)?;
        sample.encode_histogram::<NoLabelSet>(*sum as f64 / unit, count, &buckets, None)?;
    }
    Ok(())
}
