//! The question before something changes: the agent's plan. It opens on Cancel; for more than one shard it asks for their
//! number, for the whole fleet for its name and a reason. PURE.

use pilothouse_shared::plan::Plan;

/// Characters that can be typed.
const LONGEST: usize = 120;

/// A plan that waits for consent.
#[derive(Clone, PartialEq, Debug)]
pub struct Dialog {
    /// What would be done.
    pub plan: Plan,
    /// What it takes to agree.
    pub consent: Consent,
    /// Whether the button that does it has the focus.
    pub on_ok: bool,
    /// What was typed so far, where something has to be.
    pub typed: String,
}

/// What it takes to agree to a plan: the more shards, the more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Consent {
    /// A button.
    Button,
    /// The number of shards.
    Number(u32),
    /// The fleet's name and, behind it, a reason.
    Fleet(String),
}

impl Dialog {
    /// Asks about a plan for a fleet of this name and number of shards.
    pub fn new(plan: Plan, fleet: &str, total: u32) -> Self {
        let consent = match plan.shards() {
            0 | 1 => Consent::Button,
            shards if shards == total => Consent::Fleet(fleet.to_owned()),
            shards => Consent::Number(shards),
        };
        Self { plan, consent, on_ok: false, typed: String::new() }
    }

    /// Whether everything that it takes is there.
    pub fn agreed(&self) -> bool {
        match &self.consent {
            Consent::Button => self.on_ok,
            Consent::Number(shards) => self.typed.parse() == Ok(*shards),
            Consent::Fleet(_) => self.reason().is_some(),
        }
    }

    /// The reason, where the fleet's name stands before it.
    pub fn reason(&self) -> Option<&str> {
        let Consent::Fleet(name) = &self.consent else { return None };
        let reason = self.typed.trim().strip_prefix(name.as_str())?.strip_prefix(' ')?.trim();
        (!reason.is_empty()).then_some(reason)
    }

    /// Takes a typed character, where it can be part of an answer.
    pub fn type_in(&mut self, letter: char) {
        let fits = match self.consent {
            Consent::Button => false,
            Consent::Number(_) => letter.is_ascii_digit() && self.typed.len() < 9,
            Consent::Fleet(_) => !letter.is_control() && self.typed.chars().count() < LONGEST,
        };
        if fits {
            self.typed.push(letter);
        }
    }
}

#[cfg(test)]
mod tests {
    use pilothouse_shared::plan::Step;

    use super::*;

    fn dialog(shards: u32) -> Dialog {
        let plan = Plan { steps: vec![Step { shards, ..Step::default() }], ..Plan::default() };
        Dialog::new(plan, "prod", 64)
    }

    fn typed(shards: u32, text: &str) -> Dialog {
        let mut dialog = dialog(shards);
        text.chars().for_each(|letter| dialog.type_in(letter));
        dialog
    }

    #[test]
    fn the_more_shards_the_more_it_takes() {
        let mut one = dialog(1);
        assert!(!one.agreed());
        one.on_ok = true;
        assert!(one.agreed());
        for (text, agreed) in [("", false), ("2", false), ("3", true), ("33", false), ("3x", true)] {
            assert_eq!(typed(3, text).agreed(), agreed, "{text}");
        }
        for (text, agreed) in
            [("64", false), ("prod", false), ("prod ", false), ("prod stuck", true), ("production", false)]
        {
            assert_eq!(typed(64, text).agreed(), agreed, "{text}");
        }
        assert_eq!(typed(64, "prod it is stuck").reason(), Some("it is stuck"));
    }
}
