//! Teams.

use shared::domain::Problem;
use shared::domain::definition::{Kind, Reference};
use shared::domain::team::Definition;

use super::Defined;
use crate::form::Form;

impl Defined for Definition {
    const KIND: Kind = Kind::Team;

    fn read(form: &mut Form, before: Option<Self>) -> Self {
        let (members, email) = before.map(|team| (team.members, team.email)).unzip();
        let user = |f: &mut Form, at: &str| f.parse(at, "the id of a user");
        Self {
            members: form.kept("members", members, |f, at| f.items(at, user)).unwrap_or_default(),
            email: form.changed("email", email.flatten(), Form::address),
        }
    }

    fn problems(&self) -> Vec<Problem> {
        self.problems()
    }

    fn references(&self) -> Vec<(String, Reference)> {
        self.references().collect()
    }
}
