//! How long files and functions may be, and the ones that are longer: listed with their size, which may only shrink.

use super::source::Source;

/// Lines of code in a file, without comments, blank lines and the unit tests at its end.
const FILE: usize = 500;
/// Lines of code in a function.
const FUNCTION: usize = 70;

/// `file` or `file:function`, its lines of code, and why it is longer.
const LONGER: &[(&str, usize, &str)] = &[];

pub(crate) fn too_long(sources: &[Source]) -> Vec<String> {
    let measured: Vec<Measure> = sources.iter().flat_map(measures).collect();
    let gone = LONGER.iter().filter(|(name, ..)| !measured.iter().any(|measure| measure.name == *name));
    let gone = gone.map(|(name, ..)| format!("tests/tidy/ratchet.rs:1: {name} is no more: take its entry out"));
    measured.iter().filter_map(|measure| measure.complaint(LONGER)).chain(gone).collect()
}

struct Measure {
    /// As in [`LONGER`].
    name: String,
    /// `file:line`.
    place: String,
    lines: usize,
    limit: usize,
}

fn measures(source: &Source) -> Vec<Measure> {
    let path = &source.path;
    let lines = source.product_lines().filter(|(_, code)| !code.trim().is_empty()).count();
    let file = Measure { name: path.clone(), place: format!("{path}:1"), lines, limit: FILE };
    let functions = source.functions().into_iter().map(|(function, line, lines)| Measure {
        name: format!("{path}:{function}"),
        place: format!("{path}:{line}"),
        lines,
        limit: FUNCTION,
    });
    std::iter::once(file).chain(functions).collect()
}

impl Measure {
    fn complaint(&self, longer: &[(&str, usize, &str)]) -> Option<String> {
        let Self { name, place, lines, limit } = self;
        let listed = longer.iter().find(|(listed, ..)| listed == name).map(|(_, listed, _)| *listed);
        match listed {
            None if lines > limit => Some(format!("{place}: {lines} lines of code, {limit} are allowed")),
            Some(listed) if *lines > listed => Some(format!("{place}: grew from {listed} to {lines} lines of code")),
            Some(listed) if *lines < listed && lines > limit => {
                Some(format!("{place}: shrank from {listed} to {lines} lines of code: lower its entry"))
            }
            Some(_) if lines <= limit => Some(format!("{place}: within the limit: take its entry out")),
            _ => None,
        }
    }
}

#[test]
fn what_is_listed_may_only_shrink() {
    let complaint = |lines, listed: &[(&str, usize, &str)]| {
        let measure = Measure { name: "a".into(), place: "a:1".into(), lines, limit: 10 };
        measure.complaint(listed).map(|text| text["a:1: ".len()..].to_owned())
    };
    assert_eq!(complaint(10, &[]), None);
    assert_eq!(complaint(11, &[]).as_deref(), Some("11 lines of code, 10 are allowed"));
    assert_eq!(complaint(12, &[("a", 12, "")]), None);
    assert_eq!(complaint(13, &[("a", 12, "")]).as_deref(), Some("grew from 12 to 13 lines of code"));
    let shrunk = complaint(11, &[("a", 12, "")]);
    assert_eq!(shrunk.as_deref(), Some("shrank from 12 to 11 lines of code: lower its entry"));
    assert_eq!(complaint(9, &[("a", 12, "")]).as_deref(), Some("within the limit: take its entry out"));
}
