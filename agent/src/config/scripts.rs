//! The scripts of the file: each key of `[scripts]` is a command, `run KEY`.

use super::file::Setting;
use super::value::Raw;
use crate::eval;

const BAD_NAME: &str = "the name of a script is up to 64 letters, digits, dots, dashes and underscores";

/// A script with a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Script {
    /// What it is run by.
    pub name: String,
    /// The script, which can be read.
    pub text: String,
}

/// The script that a setting is, or what is wrong with it.
pub(super) fn script(setting: &Setting) -> Result<Script, String> {
    let name = Raw::One(setting.key.clone()).name().map_err(|_| BAD_NAME.to_owned())?;
    let text = setting.raw.text().map_err(|_| "a script is one text, not a list".to_owned())?.to_owned();
    eval::check(&text).map_err(|error| format!("the script cannot be read: {error}"))?;
    Ok(Script { name, text })
}
