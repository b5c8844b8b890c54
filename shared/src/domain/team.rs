//! Who belongs together.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::Problem;
use super::definition::Reference;
use crate::ids::UserId;

const MOST_MEMBERS: usize = 500;

/// A team as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// Who belongs to it.
    pub members: Vec<UserId>,
    /// An address that reaches all of them.
    #[serde(default)]
    pub email: Option<String>,
}

impl Definition {
    /// Lists the people it refers to, with the fields that do.
    pub fn references(&self) -> impl Iterator<Item = (String, Reference)> {
        let members = self.members.iter().enumerate();
        members.map(|(i, member)| (format!("members[{i}]"), Reference::User(*member)))
    }

    /// Lists everything that is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.members.len() > MOST_MEMBERS {
            problems.push(Problem::new("members", format!("Must be at most {MOST_MEMBERS}.")));
        }
        let mut seen = HashSet::new();
        for (i, member) in self.members.iter().enumerate() {
            if !seen.insert(member) {
                problems.push(Problem::new(format!("members[{i}]"), "Is in the list already."));
            }
        }
        if self.email.as_ref().is_some_and(|email| !super::is_mail_address(email)) {
            problems.push(Problem::new("email", "Must be one mail address."));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_named_once_and_an_address_is_one() {
        let member = UserId::new();
        let mut team = Definition { members: vec![member], email: Some("ops@example.org".into()) };
        assert_eq!(team.problems(), []);
        team.members.push(member);
        team.email = Some("ops".into());
        let fields: Vec<_> = team.problems().into_iter().map(|problem| problem.field).collect();
        assert_eq!(fields, ["members[1]", "email"]);
    }
}
