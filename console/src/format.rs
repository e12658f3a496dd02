//! Numbers, spans of time and foreign text in the words of the screen. PURE.

/// `5012344` as `5,012,344`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three figures and a unit: `812`, `9.81k`, `84.2k`, `842k`, `1.20M`.
pub fn short(number: u64) -> String {
    let (unit, suffix) = match number {
        0..1_000 => return number.to_string(),
        1_000..1_000_000 => (1_000, "k"),
        1_000_000..1_000_000_000 => (1_000_000, "M"),
        _ => (1_000_000_000, "G"),
    };
    let hundredths = number / (unit / 100).max(1);
    match hundredths {
        0..1_000 => format!("{}.{:02}{suffix}", hundredths / 100, hundredths % 100),
        1_000..10_000 => format!("{}.{}{suffix}", hundredths / 100, hundredths % 100 / 10),
        _ => format!("{}{suffix}", hundredths / 100),
    }
}

/// Bytes: `812 B`, `92 KiB`, `1.5 GiB`.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    let mut tenths = number * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    if tenths < 100 {
        format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    } else {
        format!("{} {}", tenths / 10, UNITS[unit])
    }
}

/// Milliseconds in the two largest units: `40 s`, `4 min 10 s`, `3 h 12 min`, `2 d 4 h`.
pub fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => two(seconds, 60, "min", 1, "s"),
        3_600..86_400 => two(seconds, 3_600, "h", 60, "min"),
        _ => two(seconds, 86_400, "d", 3_600, "h"),
    }
}

fn two(seconds: u64, large: u64, large_name: &str, small: u64, small_name: &str) -> String {
    match seconds % large / small {
        0 => format!("{} {large_name}", seconds / large),
        rest => format!("{} {large_name} {rest} {small_name}", seconds / large),
    }
}

/// Milliseconds in the largest unit, for tables: `40s`, `4m`, `3h`, `2d`.
pub fn age(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Microseconds as a latency: `0.3 ms`, `2.1 ms`, `41 ms`, `1.2 s`.
pub fn latency(us: u64) -> String {
    match us {
        0..10_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        10_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

/// Milliseconds as a delay: `3 ms`, `1.2 s`.
pub fn delay(ms: u64) -> String {
    if ms < 1_000 { format!("{ms} ms") } else { latency(ms.saturating_mul(1_000)) }
}

/// `part` of `whole` in whole percent.
pub fn percent(part: u64, whole: u64) -> String {
    format!("{} %", (part * 100 + whole / 2).checked_div(whole).unwrap_or(0))
}

/// Unix milliseconds as the time of day, UTC: `08:24:31`.
pub fn clock(unix_ms: u64) -> String {
    let second = unix_ms / 1000 % 86_400;
    format!("{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60)
}

/// `1 shard`, `2 shards`.
pub fn shards(number: u64) -> String {
    if number == 1 { "1 shard".into() } else { format!("{} shards", count(number)) }
}

/// Text of others without control characters: nothing an agent or Discord says may steer the terminal.
pub fn clean(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// Ids as ranges, cut after `most` of them: `3, 8-11, 40 and 5 more`.
pub fn ids(sorted: &[u32], most: usize) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &id in sorted {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == id => *last = id,
            _ => ranges.push((id, id)),
        }
    }
    let named: usize = ranges.iter().take(most).map(|(first, last)| (last - first + 1) as usize).sum();
    let mut text = ranges
        .iter()
        .take(most)
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
        .collect::<Vec<_>>()
        .join(", ");
    if named < sorted.len() {
        text.push_str(&format!(" and {} more", sorted.len() - named));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(["0", "812", "5,000", "5,012,344"], [0, 812, 5_000, 5_012_344].map(count).each_ref().map(|t| &**t));
        let texts = [812, 9_812, 84_213, 842_130, 1_200_000].map(short);
        assert_eq!(texts.each_ref().map(|t| &**t), ["812", "9.81k", "84.2k", "842k", "1.20M"]);
        assert_eq!([812, 94_208, 1_610_612_736].map(bytes).each_ref().map(|t| &**t), ["812 B", "92 KiB", "1.5 GiB"]);
        assert_eq!(percent(1, 3), "33 %");
        assert_eq!(percent(1, 0), "0 %");
    }

    #[test]
    fn times_read_well() {
        let texts = [40_000, 250_000, 240_000, 11_520_000, 187_200_000].map(span);
        assert_eq!(texts.each_ref().map(|t| &**t), ["40 s", "4 min 10 s", "4 min", "3 h 12 min", "2 d 4 h"]);
        assert_eq!(
            [300, 2_100, 41_000, 1_200_000].map(latency).each_ref().map(|t| &**t),
            ["0.3 ms", "2.1 ms", "41 ms", "1.2 s"]
        );
        assert_eq!(clock(1_790_000_000_000), "14:13:20");
        assert_eq!(age(7_200_000), "2h");
    }

    #[test]
    fn ids_are_told_as_ranges() {
        assert_eq!(ids(&[3, 8, 9, 10, 40], 5), "3, 8-10, 40");
        assert_eq!(ids(&[1, 3, 5, 7], 2), "1, 3 and 2 more");
        assert_eq!(ids(&[], 2), "");
    }

    #[test]
    fn foreign_text_cannot_steer_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\n"), "a [2Jb ");
    }
}
