//! Prometheus' text format, and OpenMetrics.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::catalogue::{ALL, Metric};
use crate::metrics::Exemplar;
use crate::sample::{Sample, Value};
use crate::times::{BOUNDS, Distribution, seconds, unix};

/// The text of these samples, version 0.0.4: metrics in the order of the catalogue.
pub(crate) fn render(samples: &[Sample]) -> String {
    each(samples, Format::Text)
}

/// The same in the format OpenMetrics, version 1.0.0, with exemplars.
pub(crate) fn render_open_metrics(samples: &[Sample]) -> String {
    each(samples, Format::OpenMetrics) + "# EOF\n"
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    OpenMetrics,
}

fn each(samples: &[Sample], format: Format) -> String {
    let mut text = String::with_capacity(samples.len() * 96);
    for metric in ALL {
        let mut of_metric = samples.iter().filter(|sample| std::ptr::eq(sample.metric, *metric)).peekable();
        if of_metric.peek().is_some() {
            let (name, kind) = (family(metric, format), metric.kind().as_str());
            let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", metric.help());
            of_metric.for_each(|sample| write_sample(&mut text, sample, format));
        }
    }
    text
}

/// OpenMetrics names a counter without the end that its samples have.
fn family(metric: &Metric, format: Format) -> &'static str {
    match format {
        Format::Text => metric.name(),
        Format::OpenMetrics => metric.name().strip_suffix("_total").unwrap_or(metric.name()),
    }
}

fn write_sample(text: &mut String, Sample { metric, labels, value, exemplars }: &Sample, format: Format) {
    match value {
        Value::Count(count) => line(text, metric, "", labels, None, &count.to_string()),
        Value::Number(number) => line(text, metric, "", labels, None, &number.to_string()),
        Value::Sum { count, seconds } => sum_and_count(text, metric, labels, *seconds, *count),
        Value::Times(times) => {
            let exemplars = exemplars.as_deref().filter(|_| format == Format::OpenMetrics);
            histogram(text, metric, labels, times, exemplars.map_or(&[], |all| &all[..]));
        }
    }
}

fn histogram(
    text: &mut String,
    metric: &Metric,
    labels: &[Arc<str>],
    times: &Distribution,
    exemplars: &[Option<Exemplar>],
) {
    let mut count = 0;
    let bounds = BOUNDS.into_iter().map(|bound| seconds(bound).to_string()).chain(["+Inf".to_owned()]);
    for (index, (bucket, bound)) in times.buckets.iter().zip(bounds).enumerate() {
        count += bucket;
        let mut value = count.to_string();
        if let Some(Some(exemplar)) = exemplars.get(index) {
            let (time, at) = (exemplar.time.as_secs_f64(), unix(exemplar.at));
            let _ = write!(value, " # {{trace_id=\"{}\"}} {time} {at:.3}", exemplar.trace_id());
        }
        line(text, metric, "_bucket", labels, Some(&bound), &value);
    }
    sum_and_count(text, metric, labels, times.seconds(), times.count());
}

fn sum_and_count(text: &mut String, metric: &Metric, labels: &[Arc<str>], sum: f64, count: u64) {
    line(text, metric, "_sum", labels, None, &sum.to_string());
    line(text, metric, "_count", labels, None, &count.to_string());
}

fn line(text: &mut String, metric: &Metric, suffix: &str, labels: &[Arc<str>], le: Option<&str>, value: &str) {
    text.push_str(metric.name());
    text.push_str(suffix);
    let pairs = metric.labels().iter().copied().zip(labels.iter().map(|label| &**label)).chain(le.map(|le| ("le", le)));
    let mut before = '{';
    for (name, value) in pairs {
        text.push(before);
        text.push_str(name);
        text.push_str("=\"");
        escape(text, value);
        text.push('"');
        before = ',';
    }
    if before == ',' {
        text.push('}');
    }
    text.push(' ');
    text.push_str(value);
    text.push('\n');
}

fn escape(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{BUILD, POOL_CONNECT};

    #[test]
    fn labels_are_escaped() {
        let sample =
            Sample { metric: &BUILD, labels: vec!["a\\b\"c\nd".into()], value: Value::Number(1.0), exemplars: None };
        let text = render(&[sample]);
        assert!(text.ends_with("proxy_build_info{version=\"a\\\\b\\\"c\\nd\"} 1\n"), "{text}");
    }

    #[test]
    fn buckets_are_cumulated() {
        let mut times = Distribution { nanos: 1_500_000_000, ..Distribution::default() };
        (times.buckets[0], times.buckets[13], times.buckets[18]) = (1, 2, 3);
        let sample =
            Sample { metric: &POOL_CONNECT, labels: vec!["api".into()], value: Value::Times(times), exemplars: None };
        let text = render(&[sample]);
        let bucket = |le: &str| {
            let start = format!("proxy_pool_connect_seconds_bucket{{upstream=\"api\",le=\"{le}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&start)).map(str::to_owned)
        };
        let seen = ["0.0001", "1", "2.5", "60", "+Inf"].map(|le| bucket(le).unwrap_or_default());
        assert_eq!(seen, ["1", "1", "3", "3", "6"], "{text}");
        assert!(
            text.contains("_sum{upstream=\"api\"} 1.5\n") && text.contains("_count{upstream=\"api\"} 6\n"),
            "{text}"
        );
    }
}
