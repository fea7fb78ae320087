//! What the process uses of the machine, under the names of Prometheus' client libraries.

use prometheus::IntGauge;

use super::make::int_gauge;
use super::series::Families;

/// The gauges of it.
#[derive(Debug)]
pub(super) struct Usage {
    cpu_seconds: prometheus::Gauge,
    resident_bytes: IntGauge,
    open_fds: IntGauge,
    max_fds: IntGauge,
    start_time: IntGauge,
}

impl Usage {
    /// Registers them.
    pub fn new(registry: &Families) -> Self {
        let cpu_seconds = prometheus::Gauge::new("process_cpu_seconds_total", "User and system CPU time")
            .expect("the name is a valid metric name");
        registry.add(cpu_seconds.clone());
        let gauges = Self {
            cpu_seconds,
            resident_bytes: int_gauge(registry, "process_resident_memory_bytes", "Resident memory"),
            open_fds: int_gauge(registry, "process_open_fds", "Open file descriptors"),
            max_fds: int_gauge(registry, "process_max_fds", "Most file descriptors that may be open"),
            start_time: int_gauge(registry, "process_start_time_seconds", "Unix time of the start"),
        };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        gauges.start_time.set(i64::try_from(now.as_secs()).unwrap_or_default());
        gauges
    }

    /// Reads `/proc/self`. A figure that cannot be read keeps its last value.
    pub fn observe(&self) {
        let usage = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        self.max_fds.set(usage.current.and_then(|limit| i64::try_from(limit).ok()).unwrap_or(i64::MAX));
        if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
            self.open_fds.set(i64::try_from(entries.count()).unwrap_or_default());
        }
        let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return };
        // Fields are counted from behind the command's name, which may hold spaces and parentheses.
        let Some((_, fields)) = stat.rsplit_once(')') else { return };
        let number =
            |index: usize| fields.split_ascii_whitespace().nth(index).and_then(|text| text.parse::<u64>().ok());
        if let (Some(user), Some(system)) = (number(11), number(12)) {
            let ticks = rustix::param::clock_ticks_per_second().max(1);
            self.cpu_seconds.set((user + system) as f64 / ticks as f64);
        }
        if let Some(pages) = number(21) {
            let bytes = pages.saturating_mul(rustix::param::page_size() as u64);
            self.resident_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }
}
