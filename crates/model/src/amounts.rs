//! Amounts: what a node has for groups and what a group needs, by unit.
//!
//! Two units are known: `cpu`, kept in thousandths of a processor, and `memory`, kept in bytes.
//! Every other name is a unit of the administrator's own, counted in whole numbers: licences,
//! cards, tapes.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::GroupId;
use crate::reason::{Code, Reason};

/// The unit of processor time.
pub const CPU: &str = "cpu";
/// The unit of memory.
pub const MEMORY: &str = "memory";
/// Most units that one node or group may name.
pub const UNITS_MAX: usize = 16;
/// Largest amount of a unit, in what it is kept in: sums of many never overflow.
pub const AMOUNT_MAX: u64 = 1 << 50;

/// Amounts by unit: `cpu` in thousandths of a processor, `memory` in bytes, others as counted.
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Default, Debug, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct Amounts(BTreeMap<String, u64>);

impl Amounts {
    /// Parses `cpu=2,memory=4G,licence=1`; the empty text names none.
    ///
    /// # Errors
    /// Names the part that is no amount.
    pub fn parse(text: &str) -> Result<Self, Reason> {
        let mut amounts = Self::default();
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let part = part.trim();
            let pair = part.split_once('=');
            let (unit, value) = pair.ok_or_else(|| no_amount(part, "it has no `=`"))?;
            amounts.set(unit, value)?;
        }
        Ok(amounts)
    }

    /// Sets one amount from its text.
    ///
    /// # Errors
    /// The unit has no good name, is named twice, or the text is no amount of it.
    pub fn set(&mut self, unit: &str, text: &str) -> Result<(), Reason> {
        let said = format!("{unit}={text}");
        if !GroupId::is_valid(unit) {
            return Err(no_amount(&said, "a unit has a name such as `memory`"));
        }
        let amount = read(unit, text).ok_or_else(|| no_amount(&said, form(unit)))?;
        if amount > AMOUNT_MAX {
            return Err(no_amount(&said, "that is too much"));
        }
        if self.0.insert(unit.to_owned(), amount).is_some() {
            return Err(no_amount(&said, "the unit is named twice"));
        }
        if self.0.len() > UNITS_MAX {
            return Err(no_amount(&said, "there are at most 16 units"));
        }
        Ok(())
    }

    /// How much of a unit; `None`: the unit is not named.
    #[must_use]
    pub fn get(&self, unit: &str) -> Option<u64> {
        self.0.get(unit).copied()
    }

    /// All units with their amounts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(unit, amount)| (unit.as_str(), *amount))
    }

    /// Whether no unit is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what others need.
    pub fn add(&mut self, unit: &str, amount: u64) {
        match self.0.get_mut(unit) {
            Some(sum) => *sum = sum.saturating_add(amount),
            None => drop(self.0.insert(unit.to_owned(), amount)),
        }
    }
}

impl fmt::Display for Amounts {
    /// As it is written: `cpu=2,memory=4G`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (unit, amount)) in self.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(f, "{comma}{unit}={}", written(unit, amount))?;
        }
        Ok(())
    }
}

/// An amount as it is written: `2`, `0.5` or `4G`.
#[must_use]
pub fn written(unit: &str, amount: u64) -> String {
    match unit {
        CPU if amount.is_multiple_of(1_000) => (amount / 1_000).to_string(),
        CPU => {
            let text = format!("{}.{:03}", amount / 1_000, amount % 1_000);
            text.trim_end_matches('0').to_owned()
        }
        MEMORY => {
            let fits =
                |(_, shift): &&(&str, u32)| amount > 0 && amount.is_multiple_of(1_u64 << *shift);
            let (letter, shift) = SIZES.iter().rev().find(fits).unwrap_or(&("", 0));
            format!("{}{letter}", amount >> shift)
        }
        _ => amount.to_string(),
    }
}

/// Multiples of bytes, by 1024, the smallest first.
const SIZES: [(&str, u32); 4] = [("K", 10), ("M", 20), ("G", 30), ("T", 40)];

fn read(unit: &str, text: &str) -> Option<u64> {
    match unit {
        CPU => {
            let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
            let fine = (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            let part = fine.then(|| format!("{part:0<3}"))?.parse::<u64>().ok()?;
            digits(whole)?.checked_mul(1_000)?.checked_add(part)
        }
        MEMORY => {
            let size = SIZES.iter().find(|(letter, _)| text.ends_with(letter));
            let (letter, shift) = size.unwrap_or(&("", 0));
            digits(text.strip_suffix(letter)?)?.checked_mul(1 << shift)
        }
        _ => digits(text),
    }
}

fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

fn form(unit: &str) -> &'static str {
    match unit {
        CPU => "processors are a number such as `2` or `0.5`",
        MEMORY => "memory is a number of bytes, with K, M, G or T for multiples of 1024",
        _ => "it must be a whole number",
    }
}

fn no_amount(said: &str, why: &str) -> Reason {
    Reason::new(Code::Invalid, format!("`{}` is no amount", said.escape_debug()))
        .because(why)
        .hint("write amounts as in `cpu=2,memory=4G,licence=1`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_the_same() {
        for text in ["", "cpu=2,memory=4G", "cpu=0.5", "licence=3,memory=1536M", "memory=1000"] {
            assert_eq!(Amounts::parse(text).unwrap().to_string(), text);
        }
        let same = Amounts::parse("memory=1024M, cpu=1.50").unwrap();
        assert_eq!(same.to_string(), "cpu=1.5,memory=1G");
        assert_eq!((same.get("cpu"), same.get("memory")), (Some(1_500), Some(1 << 30)));
    }

    #[test]
    fn what_is_no_amount_is_refused_and_named() {
        let bad = ["cpu", "cpu=", "cpu=two", "cpu=0.0005", "memory=4Q", "memory=-1", "x=0.5"];
        for text in bad.into_iter().chain(["=1", "a=1,a=2", "memory=99999999T", "cpu=1.", ","]) {
            let reason = Amounts::parse(text).unwrap_err();
            assert!(reason.text.contains("is no amount"), "{text}: {reason}");
        }
    }
}
