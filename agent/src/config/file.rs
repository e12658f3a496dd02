//! PURE: takes a TOML file apart into settings with their lines; what they mean is not known here.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::problem::{Origin, Problem};
use super::value::Raw;

/// One setting as written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Setting {
    /// Its key; a dot separates table and key.
    pub(super) key: String,
    pub(super) raw: Raw,
    pub(super) origin: Origin,
}

/// What a file holds, in the order of its lines.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) settings: Vec<Setting>,
    /// The tables of each array of tables `[[sinks]]`.
    pub(super) sinks: Vec<(Origin, Vec<Setting>)>,
    /// The keys of `[scripts]`, each a name.
    pub(super) scripts: Vec<Setting>,
    pub(super) problems: Vec<Problem>,
}

/// Takes `text` apart; `path` is only for naming it.
pub(super) fn parse(path: &Arc<PathBuf>, text: &str) -> Document {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { path, text, document: Document::default() };
    if errors.is_empty() {
        reader.root(table.get_ref());
    }
    for err in errors {
        let origin = reader.origin(&err.span().unwrap_or_default());
        reader.document.problems.push(Problem::new(origin, err.message()));
    }
    reader.document.settings.sort_by_key(|setting| line(&setting.origin));
    reader.document.problems.sort_by_key(|problem| line(&problem.origin));
    reader.document
}

fn line(origin: &Origin) -> usize {
    if let Origin::File(_, line) = origin { *line } else { 0 }
}

struct Reader<'a> {
    path: &'a Arc<PathBuf>,
    text: &'a str,
    document: Document,
}

impl Reader<'_> {
    fn origin(&self, span: &Range<usize>) -> Origin {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        Origin::File(Arc::clone(self.path), before.matches('\n').count() + 1)
    }

    fn root(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            match (&**key.get_ref(), value.get_ref()) {
                ("sinks", value) => self.sinks(&key.span(), value),
                ("scripts", DeValue::Table(scripts)) => self.scripts(scripts),
                (name, value) => {
                    let settings = self.settings(name, &key.span(), value);
                    self.document.settings.extend(settings);
                }
            }
        }
    }

    fn sinks(&mut self, span: &Range<usize>, value: &DeValue<'_>) {
        let tables = value.as_array().into_iter().flatten();
        let tables: Option<Vec<_>> = tables.map(|item| Some((item.span(), item.get_ref().as_table()?))).collect();
        let Some(tables) = tables.filter(|tables| !tables.is_empty()) else {
            let problem = Problem::new(self.origin(span), "sinks are tables, each begun with [[sinks]]");
            return self.document.problems.push(problem);
        };
        for (span, table) in tables {
            let mut settings = Vec::new();
            for (key, value) in table {
                settings.extend(self.settings(key.get_ref(), &key.span(), value.get_ref()));
            }
            self.document.sinks.push((self.origin(&span), settings));
        }
    }

    fn scripts(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            let script = self.settings(key.get_ref(), &key.span(), value.get_ref());
            self.document.scripts.extend(script);
        }
    }

    /// The settings in `value`, which is called `key` and stands at `span`.
    fn settings(&mut self, key: &str, span: &Range<usize>, value: &DeValue<'_>) -> Vec<Setting> {
        if let DeValue::Table(table) = value {
            let mut settings = Vec::new();
            for (inner, value) in table {
                let key = format!("{key}.{}", inner.get_ref());
                settings.extend(self.settings(&key, &inner.span(), value.get_ref()));
            }
            return settings;
        }
        let origin = self.origin(span);
        match raw(value) {
            Some(raw) => vec![Setting { key: key.to_owned(), raw, origin }],
            None => {
                let said = match value.as_array() {
                    Some(_) => {
                        "a list of tables or lists cannot stand here, only sinks are written [[sinks]]".to_owned()
                    }
                    None => format!("a value of type {} cannot stand here", value.type_str()),
                };
                self.document.problems.push(Problem { key: Some(key.to_owned()), ..Problem::new(origin, said) });
                Vec::new()
            }
        }
    }
}

fn raw(value: &DeValue<'_>) -> Option<Raw> {
    match value {
        DeValue::Array(items) => items.iter().map(|item| scalar(item.get_ref())).collect::<Option<_>>().map(Raw::Many),
        value => scalar(value).map(Raw::One),
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Integer(number) => {
            i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok().map(|number| number.to_string())
        }
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
