//! The rules, and nothing but the rules: no database, no network, no clock of its own.

pub mod access;
pub mod cause;
pub mod definition;
pub mod escalation;
pub mod event;
pub mod import;
pub mod job;
pub mod oncall;
pub mod quiet;
pub mod role;
pub mod rulebook;
pub mod scope;
pub mod search;
pub mod sla;
pub mod span;
pub mod team;
pub mod ticket;

/// Tells whether a text looks like one mail address: enough to keep out lists, names and header lines. Whether it
/// exists only its mail server knows.
#[must_use]
pub fn is_mail_address(text: &str) -> bool {
    let odd = |c: char| c.is_control() || c.is_whitespace() || "<>,;:\"()[]\\".contains(c);
    text.len() <= 254
        && !text.contains(odd)
        && text.split_once('@').is_some_and(|(local, host)| {
            !local.is_empty()
                && local.len() <= 64
                && !host.is_empty()
                && !host.contains('@')
                && !host.starts_with('.')
        })
}

/// Something wrong with a definition, in words for whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, such as `weekly.mon[1]` or `steps[0].targets`.
    pub field: String,
    /// What is wrong and what would be right, as one sentence.
    pub message: String,
}

impl Problem {
    /// Says what is wrong where.
    #[must_use]
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// The built-in policies that apply to every ticket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// What is promised.
    pub sla: sla::Policy,
    /// Who is called when a promise was broken.
    pub escalation: escalation::Policy,
    /// How long a closed ticket may be reopened.
    pub reopen_window: ticket::ReopenWindow,
}

/// Declares an enum that is the same text in JSON, in both databases and in messages.
macro_rules! text_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal $(| $alias:literal)*,)* }) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, sqlx::Type, utoipa::ToSchema)]
        $(#[$doc])*
        #[sqlx(type_name = "text")]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text $(, alias = $alias)*)] #[schema(rename = $text)] #[sqlx(rename = $text)] $variant,)*
        }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name used in JSON and in the databases.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> std::result::Result<Self, String> {
                match text {
                    $($text $(| $alias)* => Ok(Self::$variant),)*
                    _ => Err(format!("must be one of: {}", [$($text),*].join(", "))),
                }
            }
        }
    };
}
pub(crate) use text_enum;
