//! The access log, as the configuration describes it.

use proxy_metrics::{AccessLog, AccessLogBuilder, LogFormat, LogTarget, Metrics};

use super::ServerError;
use crate::path::Path;
use crate::{AccessLogFormat, AccessLogTarget, LogConditions};

pub(super) fn open(config: &crate::AccessLog, metrics: Option<&Metrics>) -> Result<AccessLog, ServerError> {
    let builder = AccessLog::builder(format(&config.format));
    let builder = metrics.into_iter().fold(builder, AccessLogBuilder::metrics);
    let builder = config.buffer.into_iter().fold(builder, AccessLogBuilder::buffer);
    let builder = config.sampling.into_iter().fold(builder, AccessLogBuilder::sample);
    let (key, target) = match &config.target {
        AccessLogTarget::File(path) => ("path", LogTarget::File(path.clone())),
        AccessLogTarget::Stdout => ("stdout", LogTarget::Stdout),
        AccessLogTarget::Syslog(path) => ("syslog", LogTarget::Syslog(path.clone())),
    };
    let at = |error| {
        let path = Path::Key(&Path::Root, "access_log");
        ServerError::cannot_build(Path::Key(&path, key).to_string(), error)
    };
    under(builder, &config.conditions).open(target).map_err(at)
}

fn format(format: &AccessLogFormat) -> LogFormat {
    match format {
        AccessLogFormat::Json => LogFormat::json(),
        AccessLogFormat::Common => LogFormat::common(),
        AccessLogFormat::Combined => LogFormat::combined(),
        AccessLogFormat::Template(format) => format.clone(),
    }
}

fn under(builder: AccessLogBuilder, conditions: &LogConditions) -> AccessLogBuilder {
    let statuses = conditions.status.iter().map(|range| range.first..=range.last);
    let builder = statuses.fold(builder, AccessLogBuilder::always);
    let builder = conditions.slower_than.into_iter().fold(builder, AccessLogBuilder::slow);
    conditions.except_paths.iter().fold(builder, AccessLogBuilder::except)
}
