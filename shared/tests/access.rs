//! Who may do what: every role, every action and every relation, against a table that was written out by hand.

use shared::domain::access::{Action, Area, Caller, Relation, Standing};
use shared::domain::role::Role;
use shared::ids::{DefinitionId, UserId};

/// In the order of the columns: own, assigned, team, nobody's in particular.
const RELATIONS: [Relation; 4] = [
    Relation { own: true, assigned: false, team: false },
    Relation { own: false, assigned: true, team: false },
    Relation { own: false, assigned: false, team: true },
    Relation { own: false, assigned: false, team: false },
];

/// A row: an action, and for each role whether it may with a ticket that is own, assigned, of the team, of others.
/// Roles in the order of `Role::ALL`: end user, engineer, senior, lead, manager, admin.
#[rustfmt::skip]
const TABLE: [(Action, [&str; 6]); 10] = [
    //                           end_user devops  senior  lead    manager admin
    (Action::Create,            ["yyyy", "yyyy", "yyyy", "yyyy", "yyyy", "yyyy"]),
    (Action::View,              ["y---", "yyyy", "yyyy", "yyyy", "yyyy", "yyyy"]),
    (Action::Update,            ["y---", "-y--", "yyyy", "yyyy", "yyyy", "yyyy"]),
    (Action::Assign,            ["----", "-y--", "-yy-", "yyyy", "yyyy", "yyyy"]),
    (Action::Resolve,           ["----", "-y--", "yyyy", "yyyy", "yyyy", "yyyy"]),
    (Action::Delete,            ["----", "----", "----", "----", "----", "yyyy"]),
    (Action::Acknowledge,       ["----", "yyyy", "yyyy", "yyyy", "yyyy", "yyyy"]),
    (Action::HoldClocks,        ["----", "-y--", "yyyy", "yyyy", "yyyy", "yyyy"]),
    (Action::Comment,           ["y---", "yyyy", "yyyy", "yyyy", "yyyy", "yyyy"]),
    (Action::CommentInternally, ["----", "yyyy", "yyyy", "yyyy", "yyyy", "yyyy"]),
];

/// A row: an area, who may see it and who may change it.
#[rustfmt::skip]
const AREAS: [(Area, &str, &str); 8] = [
    //                  see       change
    (Area::Rules,      "-yyyyy", "---yyy"),
    (Area::Overrides,  "-yyyyy", "-yyyyy"),
    (Area::Accounts,   "-yyyyy", "-----y"),
    (Area::Contacts,   "-yyyyy", "-yyyyy"),
    (Area::Webhooks,   "-----y", "-----y"),
    (Area::Imports,    "-yyyyy", "-yyyyy"),
    (Area::Reports,    "-yyyyy", "-yyyyy"),
    (Area::Operations, "-----y", "-----y"),
];

fn yes(row: &str, at: usize) -> bool {
    row.as_bytes()[at] == b'y'
}

#[test]
fn every_role_may_do_what_the_table_says_and_nothing_else() {
    assert_eq!(TABLE.map(|(action, _)| action), Action::ALL);
    for (action, rows) in TABLE {
        for (role, row) in Role::ALL.iter().zip(rows) {
            for (at, relation) in RELATIONS.into_iter().enumerate() {
                assert_eq!(role.may(action, relation), yes(row, at), "{role} {action:?} {relation:?}");
            }
        }
    }
}

#[test]
fn several_relations_allow_what_one_of_them_allows() {
    for (action, rows) in TABLE {
        for (role, row) in Role::ALL.iter().zip(rows) {
            for bits in 0..8_usize {
                let [own, assigned, team] = [0, 1, 2].map(|bit| bits >> bit & 1 == 1);
                let any =
                    [own, assigned, team, true].into_iter().enumerate().any(|(at, is)| is && yes(row, at));
                let relation = Relation { own, assigned, team };
                assert_eq!(role.may(action, relation), any, "{role} {action:?} {relation:?}");
            }
        }
    }
}

#[test]
fn every_role_sees_and_changes_the_areas_of_the_table_and_no_others() {
    for (area, see, change) in AREAS {
        for (at, role) in Role::ALL.iter().enumerate() {
            assert_eq!(role.may_see(area), yes(see, at), "{role} sees {area:?}");
            assert_eq!(role.may_change(area), yes(change, at), "{role} changes {area:?}");
        }
    }
}

#[test]
fn a_caller_stands_to_a_ticket_as_its_fields_say() {
    let (me, other, team) = (UserId::new(), UserId::new(), DefinitionId::new());
    let caller = Caller { teams: vec![team], colleagues: vec![me], ..Caller::alone(me, Role::EndUser) };
    for bits in 0..8_usize {
        let [own, assigned, with_team] = [0, 1, 2].map(|bit| bits >> bit & 1 == 1);
        let standing = Standing {
            reporter: if own { me } else { other },
            assignee: if assigned { Some(me) } else { None },
            team: Some(if with_team { team } else { DefinitionId::new() }),
        };
        assert_eq!(caller.relation(&standing), Relation { own, assigned, team: with_team });
    }
}
