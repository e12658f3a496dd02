//! PURE: a setting as somebody wrote it, and the ways to read it.

use std::num::ParseIntError;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A setting as written: the same whether it comes from a file, a variable or a flag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Raw {
    /// A text, number or boolean.
    One(String),
    /// A list of them.
    Many(Vec<String>),
}

/// Why a setting is refused, where more can be said than what its key allows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rejected(pub Option<String>);

impl Rejected {
    /// Refused because of `detail`.
    pub fn because(detail: impl Into<String>) -> Self {
        Self(Some(detail.into()))
    }
}

impl From<ParseIntError> for Rejected {
    fn from(_: ParseIntError) -> Self {
        Self::default()
    }
}

impl Raw {
    /// Nothing was written: counts as not set.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::One(text) => text.trim().is_empty(),
            Self::Many(_) => false,
        }
    }

    /// One text, trimmed.
    pub fn text(&self) -> Result<&str, Rejected> {
        match self {
            Self::One(text) => Ok(text.trim()),
            Self::Many(_) => Err(Rejected::because("one value is expected, not a list")),
        }
    }

    /// A list, or one text with commas.
    pub fn list(&self) -> Vec<String> {
        let items: Vec<&str> = match self {
            Self::One(text) => text.split(',').collect(),
            Self::Many(items) => items.iter().map(String::as_str).collect(),
        };
        items.into_iter().map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    /// A whole number in the range.
    pub fn whole<N: TryFrom<u64>>(&self, range: RangeInclusive<u64>) -> Result<N, Rejected> {
        let number: u64 = self.text()?.replace('_', "").parse()?;
        let number = Some(number).filter(|number| range.contains(number)).ok_or_else(Rejected::default)?;
        N::try_from(number).map_err(|_| Rejected::default())
    }

    /// `true` or `false`.
    pub fn flag(&self) -> Result<bool, Rejected> {
        self.choice(&[("true", true), ("false", false)])
    }

    /// One of the named values.
    pub fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, Rejected> {
        let text = self.text()?.to_lowercase();
        choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(Rejected::default)
    }

    /// `250ms`, `5s`, `1.5m`, `2h`, in the range.
    pub fn duration(&self, range: RangeInclusive<Duration>) -> Result<Duration, Rejected> {
        let text = self.text()?;
        let unit = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(|| Rejected::because("the unit is missing"))?;
        let (number, unit) = text.split_at(unit);
        let scale = match unit.trim() {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(Rejected::default()),
        };
        let number: f64 = number.parse().map_err(|_| Rejected::default())?;
        let millis =
            Duration::try_from_secs_f64(number * scale).map_err(|_| Rejected::default())?.as_micros().div_ceil(1000);
        let duration = u64::try_from(millis).map(Duration::from_millis).map_err(|_| Rejected::default())?;
        Some(duration).filter(|duration| range.contains(duration)).ok_or_else(Rejected::default)
    }

    /// `0`, `4096`, `512MiB`, `4GiB`: bytes.
    pub fn bytes(&self) -> Result<u64, Rejected> {
        let text = self.text()?;
        let unit = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(unit);
        let shift = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(Rejected::default)?.1;
        number.parse::<u64>()?.checked_mul(1 << shift).ok_or_else(Rejected::default)
    }

    /// A secret that can stand in an HTTP header.
    pub fn header(&self) -> Result<&str, Rejected> {
        let text = self.text()?;
        let fits = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if fits { Ok(text) } else { Err(Rejected::default()) }
    }

    /// A name that can stand in a log line, a metric and a path.
    pub fn name(&self) -> Result<String, Rejected> {
        let text = self.text()?;
        let fits = text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if fits { Ok(text.to_owned()) } else { Err(Rejected::default()) }
    }
}

/// An `http` or `https` URL.
pub(super) fn url(text: &str) -> Result<String, Rejected> {
    let refused = |why: &str| Err(Rejected::because(format!("{}: {why}", without_credentials(text))));
    match text.parse::<reqwest::Url>() {
        Err(err) => refused(&err.to_string()),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => refused("the scheme is neither http nor https"),
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            refused("credentials belong into `authorization`, not into the URL")
        }
        Ok(_) => Ok(text.to_owned()),
    }
}

/// The text without what stands before an `@`: in a URL those are credentials.
pub(super) fn without_credentials(text: &str) -> &str {
    text.rsplit_once('@').map_or(text, |(_, rest)| rest)
}

/// A text as TOML writes it.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A duration as [`Raw::duration`] reads it, quoted.
pub(super) fn quoted_duration(duration: Duration) -> String {
    quoted(&shown_duration(duration))
}

/// `5s`, or `250ms` where it is not whole seconds.
pub(super) fn shown_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis.is_multiple_of(1000) { format!("{}s", millis / 1000) } else { format!("{millis}ms") }
}

/// Units of sizes, with the power of two that each stands for.
const UNITS: [(&str, u32); 5] = [("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0), ("", 0)];

/// A TOML text of a size, in the largest unit that gives a whole number.
pub(super) fn quoted_bytes(bytes: u64) -> String {
    let whole = |(_, shift): &&(&str, u32)| bytes > 0 && bytes.is_multiple_of(1 << shift);
    let (unit, shift) = UNITS.iter().find(whole).copied().unwrap_or(("B", 0));
    quoted(&format!("{}{unit}", bytes >> shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Raw {
        Raw::One(text.to_owned())
    }

    #[test]
    fn sizes_have_units_or_are_bytes() {
        let read = |text| one(text).bytes();
        assert_eq!(read("4GiB"), Ok(4 << 30));
        assert_eq!(read("512 MiB"), Ok(512 << 20));
        assert_eq!(read("0"), Ok(0));
        for bad in ["", "GiB", "-1", "1.5GiB", "4GB", "99999999999GiB"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        for bytes in [0, 1, 1_000, 3 << 10, 512 << 20, 4 << 30] {
            assert_eq!(one(quoted_bytes(bytes).trim_matches('"')).bytes(), Ok(bytes));
        }
    }

    #[test]
    fn durations_need_a_unit_and_keep_to_their_range() {
        let range = || Duration::from_millis(1)..=Duration::from_secs(3600);
        assert_eq!(one("5s").duration(range()), Ok(Duration::from_secs(5)));
        assert_eq!(one("5.05s").duration(range()), Ok(Duration::from_millis(5050)));
        assert_eq!(one("250 ms").duration(range()), Ok(Duration::from_millis(250)));
        assert_eq!(one("1.5m").duration(range()), Ok(Duration::from_secs(90)));
        assert_eq!(one("5").duration(range()), Err(Rejected::because("the unit is missing")));
        for bad in ["s", "-5s", "5 parsecs", "2h", "0ms", "1.2.3s", "99999999999999999999999h", ".s"] {
            assert!(one(bad).duration(range()).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_keep_to_their_range_and_type() {
        assert_eq!(one("1_024").whole::<u16>(1..=2048), Ok(1024));
        assert!(one("0").whole::<u16>(1..=2048).is_err());
        assert!(one("70000").whole::<u16>(1..=100_000).is_err());
        assert!(one("-1").whole::<u16>(0..=9).is_err());
    }

    #[test]
    fn lists_come_as_lists_or_with_commas() {
        let expected = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(one(" a, b,").list(), expected);
        assert_eq!(Raw::Many(expected.clone()).list(), expected);
    }
}
