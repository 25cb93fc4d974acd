//! When a hub is asked again, and after how long.

use std::time::{Duration, Instant, SystemTime};

use ureq::http::{HeaderMap, StatusCode};

/// A question, or a download that breaks off, is taken up again so often before it is given up.
pub(super) const ATTEMPTS: u32 = 4;

/// Nobody waits longer for a hub to be less busy.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Fewer bytes a second than that, over as long as a connection may be silent, are as good as silence.
const SLOWEST: f64 = 1024.0;

/// Whether the same question may have another answer a little later.
pub(super) fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT
}

/// How long to wait after the attempt of that number (from 0): what the hub asks for, else twice as long each time. An
/// error where it asks for more than anybody waits.
pub(super) fn wait_after(attempt: u32, headers: Option<&HeaderMap>) -> Result<Duration, Duration> {
    let asked = headers.and_then(|headers| headers.get("retry-after")?.to_str().ok()).and_then(retry_after);
    match asked {
        Some(asked) if asked > LONGEST_WAIT => Err(asked),
        Some(asked) => Ok(asked),
        None => Ok(Duration::from_millis(400 << attempt)),
    }
}

/// `Retry-After`: seconds, or a date.
fn retry_after(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(Duration::from_secs(date(text.trim())?).saturating_sub(now))
}

/// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT`.
fn date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, rest) = text.split_once(", ")?;
    let parts: Vec<&str> = rest.split(' ').collect();
    let [day, month, year, time, "GMT"] = parts[..] else { return None };
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let (day, year): (u64, u64) = (day.parse().ok()?, year.parse().ok()?);
    let clock: Vec<u64> = time.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hours, minutes, seconds] = clock[..] else { return None };
    if year < 1970 {
        return None;
    }
    // Years that begin in March: the leap day comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let since_1970 = days.checked_sub(719_468)?;
    Some(((since_1970 * 24 + hours) * 60 + minutes) * 60 + seconds)
}

/// How fast a body arrives.
pub(super) struct Pace {
    window: Duration,
    since: Instant,
    received: u64,
}

impl Pace {
    pub fn new(window: Duration) -> Self {
        Self { window, since: Instant::now(), received: 0 }
    }

    /// An error where no more than a trickle arrived for as long as a connection may be silent.
    pub fn add(&mut self, received: u64) -> Result<(), String> {
        self.received += received;
        let elapsed = self.since.elapsed();
        if elapsed < self.window {
            return Ok(());
        }
        if (self.received as f64) < SLOWEST * elapsed.as_secs_f64() {
            return Err(format!("only {} bytes in {:.0} seconds", self.received, elapsed.as_secs_f64().max(1.0)));
        }
        *self = Self::new(self.window);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_what_the_hub_asks_for_within_reason() {
        let asked = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", text.parse().expect("a header"));
            wait_after(0, Some(&headers))
        };
        assert_eq!(asked("7"), Ok(Duration::from_secs(7)));
        assert_eq!(asked("3600"), Err(Duration::from_secs(3600)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:37 GMT"), Ok(Duration::ZERO), "long ago");
        assert!(asked("Fri, 31 Dec 2100 23:59:59 GMT").is_err());
        assert_eq!(asked("soon"), wait_after(0, None));
        assert!(wait_after(2, None) > wait_after(1, None));
        assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(date("Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
    }

    #[test]
    fn a_trickle_is_as_good_as_silence() {
        let mut pace = Pace::new(Duration::from_millis(50));
        assert!(pace.add(1).is_ok());
        std::thread::sleep(Duration::from_millis(60));
        assert!(pace.add(1).is_err());
        let mut pace = Pace::new(Duration::from_millis(50));
        std::thread::sleep(Duration::from_millis(60));
        assert!(pace.add(1 << 20).is_ok());
    }
}
