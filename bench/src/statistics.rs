//! What is told of repeated measurements: the smallest, the middle and the largest.

use serde::Serialize;

/// Minimum, median and maximum.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of all values; `None` when there are none.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let upper = sorted.len() / 2;
        let even = sorted.len().is_multiple_of(2);
        let lower = if even { upper - 1 } else { upper };
        Some(Self { min, median: f64::midpoint(sorted[lower], sorted[upper]), max })
    }
}

/// To three decimals: less than anything here can be told apart by.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_measured_has_no_spread() {
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn the_median_is_the_middle_or_lies_between_the_two_in_the_middle() {
        let one = Spread::of(&[7.0]).unwrap();
        assert_eq!(one, Spread { min: 7.0, median: 7.0, max: 7.0 });
        let odd = Spread::of(&[30.0, 10.0, 20.0]).unwrap();
        assert_eq!(odd, Spread { min: 10.0, median: 20.0, max: 30.0 });
        let even = Spread::of(&[4.0, 1.0, 100.0, 2.0]).unwrap();
        assert_eq!(even, Spread { min: 1.0, median: 3.0, max: 100.0 });
    }

    #[test]
    fn values_are_rounded_to_three_decimals() {
        assert_eq!(rounded(1.234_56), 1.235);
        assert_eq!(rounded(2.0), 2.0);
    }
}
