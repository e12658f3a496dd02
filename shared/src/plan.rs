//! PURE: what a changing command would do, told before anything happens.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What would be done, with the shards that there are now. Applying sends the id, so that what is done is what was shown.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    /// What it is applied by.
    pub id: String,
    /// Until when, Unix milliseconds.
    pub expires_at: u64,
    /// What a script answered that asks for all this.
    pub said: String,
    /// What is done, in this order.
    pub steps: Vec<Step>,
    /// What to think of before.
    pub warnings: Vec<String>,
}

/// One command of a plan.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    /// The command; shards that were named by what they do are named by their numbers.
    pub line: String,
    /// What it does, in a sentence.
    pub effect: String,
    /// Shards that it is about.
    pub shards: u32,
    /// Guilds of these shards.
    pub guilds: u64,
    /// Identifies that it spends.
    pub identifies: u32,
    /// How long it takes at least, milliseconds.
    pub takes_ms: u64,
    /// The command that takes it back; none where nothing has to be, or can be.
    pub undo: Option<String>,
}

impl Plan {
    /// Identifies that all of it spends.
    pub fn identifies(&self) -> u32 {
        self.steps.iter().fold(0, |sum, step| sum.saturating_add(step.identifies))
    }

    /// The most shards that one of its steps is about.
    pub fn shards(&self) -> u32 {
        self.steps.iter().map(|step| step.shards).max().unwrap_or(0)
    }
}

impl fmt::Display for Plan {
    /// A line for each step and warning.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.said.is_empty() {
            writeln!(out, "{}", self.said)?;
        }
        for (number, step) in self.steps.iter().enumerate() {
            if number > 0 {
                writeln!(out)?;
            }
            step.fmt(out)?;
        }
        self.warnings.iter().try_for_each(|warning| write!(out, "\nwarning: {warning}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, effect, shards, guilds, identifies, takes_ms, undo } = self;
        write!(out, "{line}: {effect}")?;
        if *shards > 0 {
            write!(out, "; {}, {}", count(u64::from(*shards), "shard"), count(*guilds, "guild"))?;
        }
        match identifies {
            0 => {}
            1 => out.write_str("; 1 identify")?,
            _ => write!(out, "; {identifies} identifies")?,
        }
        if *takes_ms >= 1_000 {
            write!(out, "; takes {} s or more", takes_ms.div_ceil(1_000))?;
        }
        undo.as_ref().map_or(Ok(()), |undo| write!(out, "; taken back by `{undo}`"))
    }
}

fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_tells_each_step_and_what_it_costs() {
        let restart = Step {
            line: "restart 3-4 --identify".into(),
            effect: "new sessions".into(),
            shards: 2,
            guilds: 1,
            identifies: 2,
            takes_ms: 5_050,
            undo: None,
        };
        let pause = Step {
            line: "sink http pause".into(),
            effect: "it delivers nothing".into(),
            undo: Some("sink http resume".into()),
            ..Step::default()
        };
        let plan = Plan { steps: vec![restart, pause], warnings: vec!["hm".into()], ..Plan::default() };
        let lines = [
            "restart 3-4 --identify: new sessions; 2 shards, 1 guild; 2 identifies; takes 6 s or more",
            "sink http pause: it delivers nothing; taken back by `sink http resume`",
            "warning: hm",
        ];
        assert_eq!(plan.to_string(), lines.join("\n"));
        assert_eq!((plan.identifies(), plan.shards()), (2, 2));
    }
}
