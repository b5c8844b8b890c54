//! What the kinds of definitions have in common for the API, and how each is read from a body.

mod calendar;
mod escalation;
mod policy;
mod schedule;
mod team;

use std::collections::HashSet;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use shared::domain::Problem;
use shared::domain::definition::{Kind, Reference};
use shared::domain::escalation::Finding;
use shared::ids::{DefinitionId, UserId};
use shared::store::definitions::{self, Definition, Version};
use shared::store::{Tx, users};
use shared::time::Timestamp;

use crate::error::ApiError;
use crate::form::Form;

pub(crate) use escalation::find_doubts;
pub(crate) use schedule::read_override;

/// A definition as it is shown.
pub(crate) type View = Map<String, Value>;

/// A kind of definition.
pub(crate) trait Defined: Serialize + DeserializeOwned + Send + Sync + 'static {
    const KIND: Kind;
    /// Whether people choose in which order its definitions count.
    const ORDERED: bool = false;

    /// Reads the fields of a body; those not given are as they were before, if there was something before. What it
    /// returns after a complaint is good for nothing but to look for more to complain about.
    fn read(form: &mut Form, before: Option<Self>) -> Self;

    fn problems(&self) -> Vec<Problem>;

    /// What must exist, with the fields that name it.
    fn references(&self) -> Vec<(String, Reference)>;

    /// Takes out of the stored body what nobody may read.
    fn mask(_: &mut Value) {}

    /// What is doubtful about it though nothing is wrong; `None` for a kind that is never doubtful.
    fn findings(
        &self,
        _: &mut Tx,
        _own: DefinitionId,
        _: Timestamp,
    ) -> impl Future<Output = Result<Option<Vec<Finding>>, ApiError>> + Send {
        async { Ok(None) }
    }
}

/// Reads what is stored.
pub(crate) fn stored<D: Defined>(body: Value) -> Result<D, ApiError> {
    serde_json::from_value(body)
        .map_err(|error| ApiError::Internal(format!("a stored {} cannot be read: {error}", D::KIND.noun())))
}

/// Ends reading a definition: complains about everything that is wrong with it as a whole, and about what it refers
/// to without there being such a thing.
pub(crate) async fn judge<D: Defined>(tx: &mut Tx, mut form: Form, definition: &D) -> Result<(), ApiError> {
    form.review(definition.problems());
    let references = definition.references();
    let users = references.iter().filter_map(|(_, reference)| match reference {
        Reference::User(id) => Some(*id),
        Reference::Definition(..) => None,
    });
    let users: HashSet<UserId> = users.collect();
    let users: Vec<UserId> = users.into_iter().collect();
    let mut known: HashSet<Reference> =
        users::of_ids(&mut *tx, &users).await?.iter().map(|user| Reference::User(user.id)).collect();
    for kind in Kind::ALL {
        let ids = ids(&references, *kind);
        let found = definitions::of_ids(&mut *tx, *kind, &ids).await?;
        known.extend(found.iter().map(|found| Reference::Definition(*kind, found.id)));
    }
    let unknown = references.into_iter().filter(|(_, reference)| !known.contains(reference));
    form.review(unknown.map(|(field, reference)| {
        let noun = match reference {
            Reference::User(_) => "user",
            Reference::Definition(kind, _) => kind.noun(),
        };
        Problem::new(field, format!("There is no such {noun}."))
    }));
    form.finish()
}

/// The definitions of a kind among references, each once.
pub(crate) fn ids(references: &[(String, Reference)], kind: Kind) -> Vec<DefinitionId> {
    let of_kind = references.iter().filter_map(|(_, reference)| match reference {
        Reference::Definition(other, id) if *other == kind => Some(*id),
        Reference::Definition(..) | Reference::User(_) => None,
    });
    of_kind.collect::<HashSet<_>>().into_iter().collect()
}

/// Shows a definition: what all have, and then what its body says.
pub(crate) fn view<D: Defined>(definition: Definition) -> View {
    let Definition { id, name, position, version, created_at, updated_at, body, .. } = definition;
    let mut view = with_body::<D>(
        json!({ "id": id, "name": name, "version": version, "created_at": created_at, "updated_at": updated_at }),
        body.0,
    );
    if D::ORDERED {
        view.insert("position".into(), position.into());
    }
    view
}

/// Shows what a definition said in a version.
pub(crate) fn view_version<D: Defined>(version: Version) -> View {
    let Version { id, version, name, body, created_at, actor_id, .. } = version;
    with_body::<D>(
        json!({ "id": id, "version": version, "name": name, "created_at": created_at, "actor_id": actor_id }),
        body.0,
    )
}

fn with_body<D: Defined>(head: Value, mut body: Value) -> View {
    D::mask(&mut body);
    match (head, body) {
        (Value::Object(mut view), Value::Object(body)) => {
            view.extend(body);
            view
        }
        _ => Map::new(),
    }
}
