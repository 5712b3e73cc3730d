//! Moments of the wall clock, in UTC: nodes and people may be anywhere.

use stead_model::UtcMillis;

/// As in `2026-11-20 11:22:21 UTC`.
pub(crate) fn to_second(at: UtcMillis) -> String {
    format!("{} UTC", date_and_time(at))
}

/// As in `2026-11-20 11:22:21.042`.
pub(crate) fn to_millisecond(at: UtcMillis) -> String {
    format!("{}.{:03}", date_and_time(at), at.0 % 1_000)
}

fn date_and_time(at: UtcMillis) -> String {
    let seconds = at.0 / 1_000;
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// Year, month and day of a day counted from 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    // 400 years have 146 097 days; the rest is counted down year by year and month by month.
    let (mut year, mut left) = (1970 + days / 146_097 * 400, days % 146_097);
    while left >= days_in_year(year) {
        left -= days_in_year(year);
        year += 1;
    }
    let mut month = 1;
    while left >= days_in_month(year, month) {
        left -= days_in_month(year, month);
        month += 1;
    }
    (year, month, left + 1)
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

const fn days_in_year(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

const fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_read_as_they_should() {
        let cases = [
            (0, "1970-01-01 00:00:00.000"),
            (951_782_400_000, "2000-02-29 00:00:00.000"),
            (1_709_251_199_999, "2024-02-29 23:59:59.999"),
            (1_795_173_741_042, "2026-11-20 11:22:21.042"),
            (4_107_542_400_000, "2100-03-01 00:00:00.000"),
            (13_574_563_200_000, "2400-02-29 00:00:00.000"),
        ];
        for (ms, text) in cases {
            assert_eq!(to_millisecond(UtcMillis(ms)), text);
        }
        assert_eq!(to_second(UtcMillis(1_500)), "1970-01-01 00:00:01 UTC");
    }
}
